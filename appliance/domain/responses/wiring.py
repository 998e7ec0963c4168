"""What a response service is put together from beside its ports: the wire's functions on opaque
values, and limits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.responses.ports import ResponseEncoder
from appliance.domain.responses.record import Item, ResponseRequest


@dataclass(frozen=True, slots=True)
class ResponseWire:
    """Pure functions of presentation.

    `encoder(asked, chat, response_id, created)`: the writer of one response, `created` in Unix
    seconds.
    `deltas_of(answer)`: a whole answer as the steps of a stream.
    `output_items(resource)`: what a response has said.
    `rebuilt(resource, events, message)`: what becomes of a response whose gateway is gone: the
    resource and all its frames, those that are known first.
    `failure(error, sequence)`: the frame that ends a stream which nothing more is known of.
    `encoded`, `decoded`: JSON.
    """

    encoder: Callable[[ResponseRequest, ChatRequest, str, int], ResponseEncoder]
    deltas_of: Callable[[Answer], Iterable[Delta]]
    output_items: Callable[[bytes], Sequence[Item]]
    rebuilt: Callable[[bytes, bytes, str], tuple[bytes, bytes]]
    failure: Callable[[Exception, int], bytes]
    encoded: Callable[[Any], bytes]
    decoded: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """`unstored` says why nothing is stored here: "off", "refused:privacy", or "" where it is.

    `hold_s`: how long headers wait for content; `store_s`: how long an answer waits for its row;
    `max_bytes` of one response, frames and input together; `lease_s`: a live row whose gateway was
    silent for so long is an orphan; `total_s`: how long a response may take in all;
    `max_live_bytes` of frames in memory, of all responses.
    """

    hold_s: float
    store_s: float
    max_bytes: int
    lease_s: float
    max_background: int
    total_s: float
    unstored: str = ""
    publish_every_s: float = 0.1
    max_chain: int = 1000
    max_live_bytes: int = 512 * 1024 * 1024
