"""What the chat service needs from outside: backends that answer, and knowledge."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.identity import Identity


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model a server lists: `name` as clients use it (never a file path), `upstream` as the
    server does;
    `context_window` in tokens, None when the server does not say; `loaded`: a server of this kind
    holds what it lists in memory; `details` is the server's own row, where its dialect has one."""

    name: str
    upstream: str
    context_window: int | None = None
    owned_by: str = ""
    loaded: bool = field(default=False, compare=False)
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)


class ChatBackend(Protocol):
    """One configured server that speaks one dialect.

    Every method raises the BackendError tree; the chat methods also ContextLengthExceeded when
    the prompt does not fit.
    """

    @property
    def name(self) -> str: ...

    @property
    def dialect(self) -> str: ...

    @property
    def carries(self) -> frozenset[str]:
        """The fields of Options this dialect can say; asked only for requests of another one."""

    def speaks(self, dialect: str) -> bool:
        """True when a request of `dialect` reaches the server as its client sent it."""

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """The whole answer of upstream model `model`; cancelling the call aborts the upstream
        request."""

    def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas in order; closing the generator aborts the upstream request."""

    async def models(self) -> list[ModelCard]:
        """What the server lists now."""

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        """Tokens of the prompt as the server's own tokenizer counts them; None where it has
        none to ask."""


@runtime_checkable
class ModelKeeper(Protocol):
    """A backend that keeps several models, loads them when asked, and tells of them in the words of
    its `dialect`.  Every method raises the BackendError tree."""

    async def show(self, model: str) -> Mapping[str, Any]:
        """All it says of the upstream model `model`."""

    async def running(self) -> Sequence[Mapping[str, Any]]:
        """A row for each model in its memory now."""


@dataclass(frozen=True, slots=True)
class Media:
    """A fetched file: its type as its bytes tell, else as its server said; `data` is base64."""

    media_type: str
    data: str


class MediaFetcher(Protocol):
    """Fetches what a message names by URL."""

    async def fetch(self, url: str) -> Media:
        """Raises InvalidRequest, in words for the caller, when it cannot or must not be fetched."""
