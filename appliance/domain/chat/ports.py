"""What the chat service needs from outside: a backend that answers, and a place for the exchange."""

from collections.abc import AsyncGenerator
from typing import Protocol

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.identity import Identity


class ChatBackend(Protocol):
    """One configured server that speaks one dialect.

    Both methods raise the BackendError tree, and ContextLengthExceeded when the prompt does not fit.
    """

    @property
    def name(self) -> str: ...

    @property
    def dialect(self) -> str: ...

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """The whole answer of upstream model `model`; cancelling the call aborts the upstream request."""

    def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas in order; closing the generator aborts the upstream request."""

    async def models(self) -> list[str]:
        """The names the server lists now, as a client may use them (never a file path)."""
