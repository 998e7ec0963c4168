"""What an API surface is: routes, a decoder, an encoder, an error shape.  One row a surface in
SURFACES."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.events.exchange import Hit
from appliance.presentation import openai_chat
from appliance.presentation.errors import ErrorView


class Encoder(Protocol):
    """Encodes the answer to one request; pure, one instance an exchange."""

    def named(self, model: str) -> None:
        """The name routing settled on, for a client that named no model."""

    def once(self, answer: Answer, sources: tuple[Hit, ...] | None) -> bytes:
        """The body of the once shape; `sources` None adds nothing to it."""

    def delta(self, delta: Delta) -> bytes:
        """The frames of one step; empty when it has nothing for this client."""

    def end(self, sources: tuple[Hit, ...] | None) -> bytes:
        """The last frames."""

    def error(self, view: ErrorView) -> bytes:
        """The frames of a failure after the headers."""


@dataclass(frozen=True, slots=True)
class Surface:
    """`decode(body, headers)` raises InvalidRequest; header names are lower case."""

    name: str
    routes: tuple[str, ...]
    stream_type: str
    decode: Callable[[bytes, Mapping[str, str]], ChatRequest]
    encoder: Callable[[ChatRequest, str, int], Encoder]  # request, trace id, Unix seconds
    error: Callable[[ErrorView], bytes]


SURFACES: tuple[Surface, ...] = (
    Surface(
        name="openai_chat",
        routes=("/v1/chat/completions",),
        stream_type="text/event-stream",
        decode=openai_chat.decode,
        encoder=openai_chat.encoder,
        error=openai_chat.error,
    ),
)
