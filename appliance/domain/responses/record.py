"""A response as it is asked for and as it is kept.  Its wire (resource, items, events) is opaque
here: bytes and mappings that presentation/openai_responses writes and reads.

A response is live while some gateway produces it; its row then has a lease which that gateway
renews.  One whose lease has run out is an orphan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance.domain.conversation.request import ChatRequest

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
LIVE: tuple[Status, ...] = ("queued", "in_progress")
Item = Mapping[str, Any]  # of the wire: a message, a call, its output, reasoning
ID_PREFIX = "resp_"


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """`items` are those of this request alone, each with an id.  `continued(earlier)` is the chat
    request after the items of the responses before it, oldest first; () where it continues none.
    `compacts`: its answer is a summary of all that, as compaction.py has it."""

    items: tuple[Item, ...]
    continued: Callable[[Sequence[Item]], ChatRequest]
    model: str
    stream: bool = False
    store: bool = True
    background: bool = False
    previous_response_id: str = ""
    compacts: bool = False


@dataclass(frozen=True, slots=True)
class NewResponse:
    """`id` is `id_of(trace_id)`, `key_name` its owner, "" where nobody needs a key;
    `created_at` in Unix seconds; `resource` and `input_items` are JSON."""

    id: str
    trace_id: str
    correlation_id: str
    conversation_id: str
    key_name: str
    created_at: float
    status: Status
    model: str
    resource: bytes
    input_items: bytes
    background: bool = False
    previous_response_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredResponse(NewResponse):
    """A row.  `events` are all frames of its stream, whole, once it is not live any more; empty
    before.  `orphaned`: live, and its lease has run out."""

    events: bytes = b""
    orphaned: bool = False


def id_of(trace_id: str) -> str:
    """The id of the response that was made in that exchange."""
    return ID_PREFIX + trace_id
