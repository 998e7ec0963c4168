"""What the chat service needs from outside: backends that answer, and knowledge."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.identity import Identity


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model a server lists: `name` as clients use it (never a file path), `upstream` as the
    server does;
    `context_window` in tokens, None when the server does not say."""

    name: str
    upstream: str
    context_window: int | None = None
    owned_by: str = ""


class ChatBackend(Protocol):
    """One configured server that speaks one dialect.

    Every method raises the BackendError tree; the chat methods also ContextLengthExceeded when
    the prompt does not fit.
    """

    @property
    def name(self) -> str: ...

    @property
    def dialect(self) -> str: ...

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """The whole answer of upstream model `model`; cancelling the call aborts the upstream
        request."""

    def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas in order; closing the generator aborts the upstream request."""

    async def models(self) -> list[ModelCard]:
        """What the server lists now."""
