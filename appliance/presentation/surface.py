"""What an API surface is: routes, a decoder, an encoder, an error shape.  One row a surface in
SURFACES, of one kind or the other: a chat, or answers that are stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.events.exchange import Hit
from appliance.domain.responses.wiring import ResponseWire
from appliance.presentation import (
    anthropic_messages,
    ollama,
    openai_chat,
    openai_completions,
    openai_responses,
)
from appliance.presentation.errors import ErrorView
from appliance.presentation.listed import ListedModel


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
class Counter:
    """A route that counts the tokens of a prompt instead of answering it."""

    route: str
    decode: Callable[[bytes, Mapping[str, str]], ChatRequest]
    encode: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """How a surface shows the list of models and one of them."""

    listing: Callable[[Sequence[ListedModel]], bytes]
    one: Callable[[ListedModel], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What every surface has.

    `marker` is a header that marks this surface's clients on the paths all surfaces share
    (`/v1/models`); without one of these the first surface answers there.  `prefix` is that of other
    paths whose errors take this surface's shape.
    """

    name: str
    routes: tuple[str, ...]
    error: Callable[[ErrorView], bytes]
    models: ModelShapes
    marker: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSurface(Surface):
    """One whose answers are over when they are given; served by `transport/chat.py`.

    `decode(body, headers)` raises InvalidRequest; header names are lower case.  `keep_alive` makes
    what is sent while a stream has nothing to say, None where that is a comment; `loaded` the
    answer to a request without messages, which loads its model, None where there is no such
    request.
    """

    stream_type: str
    decode: Callable[[bytes, Mapping[str, str]], ChatRequest]
    encoder: Callable[[ChatRequest, str, int], Encoder]  # request, trace id, Unix seconds
    once_type: str = "application/json"
    counter: Counter | None = None
    keep_alive: Callable[[ChatRequest, str], bytes] | None = None  # request, name of the model
    loaded: Callable[[ChatRequest, str], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSurface(Surface):
    """One whose answers are stored, read again, continued and cancelled.

    The service of domain/responses writes them through `wire`; what else its clients ask is the
    business of its own routes, `transport/responses.py`.
    """

    wire: ResponseWire


RESPONSES = StoredSurface(
    name="openai_responses",
    routes=("/v1/responses",),
    error=openai_responses.error,
    models=ModelShapes(openai_chat.listing, openai_chat.one_model),
    wire=ResponseWire(
        encoder=openai_responses.encoder,
        deltas_of=openai_responses.deltas_of,
        output_items=openai_responses.output_items,
        rebuilt=openai_responses.rebuilt,
        failure=openai_responses.failure,
        encoded=msgspec.json.encode,
        decoded=msgspec.json.decode,
    ),
)
SURFACES: tuple[Surface, ...] = (
    ChatSurface(
        name="openai_chat",
        routes=("/v1/chat/completions",),
        stream_type="text/event-stream",
        decode=openai_chat.decode,
        encoder=openai_chat.encoder,
        error=openai_chat.error,
        models=ModelShapes(openai_chat.listing, openai_chat.one_model),
    ),
    ChatSurface(
        name="openai_completions",
        routes=("/v1/completions",),
        stream_type="text/event-stream",
        decode=openai_completions.decode,
        encoder=openai_completions.encoder,
        error=openai_completions.error,
        models=ModelShapes(openai_chat.listing, openai_chat.one_model),
    ),
    RESPONSES,
    ChatSurface(
        name="anthropic_messages",
        routes=("/v1/messages",),
        stream_type="text/event-stream",
        decode=anthropic_messages.decode,
        encoder=anthropic_messages.encoder,
        error=anthropic_messages.error,
        models=ModelShapes(anthropic_messages.listing, anthropic_messages.one_model),
        marker="anthropic-version",
        counter=Counter(
            "/v1/messages/count_tokens",
            anthropic_messages.decode_count,
            anthropic_messages.count,
        ),
    ),
    ChatSurface(
        name="ollama",
        routes=("/api/chat",),
        stream_type="application/x-ndjson",
        decode=ollama.decode_chat,
        encoder=ollama.encoder,
        error=ollama.error,
        models=ModelShapes(openai_chat.listing, openai_chat.one_model),
        prefix="/api/",
        once_type="application/json; charset=utf-8",
        keep_alive=ollama.keep_alive,
        loaded=ollama.loaded,
    ),
    ChatSurface(
        name="ollama_generate",
        routes=("/api/generate",),
        stream_type="application/x-ndjson",
        decode=ollama.decode_generate,
        encoder=ollama.encoder,
        error=ollama.error,
        models=ModelShapes(openai_chat.listing, openai_chat.one_model),
        once_type="application/json; charset=utf-8",
        keep_alive=ollama.keep_alive,
        loaded=ollama.loaded,
    ),
)
