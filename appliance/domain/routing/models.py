"""What there is to know of the models behind the gateway, for clients that manage models: all of
them, one, those in memory; and loading one.  Used by the Ollama surface.

A backend that keeps models itself (ModelKeeper) is asked, briefly; one that does not answer has
nothing to tell.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.chat.ports import ChatBackend, ModelKeeper
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import BackendError, BackendTimeout, ModelNotFound
from appliance.domain.identity import Identity
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import Health
from appliance.domain.routing.router import NamedModel, Router

ASK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Known:
    """A model; `shown` is all its backend says of it, None where it is none that does."""

    model: NamedModel
    shown: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A model in a backend's memory; `context_window` in tokens, 0 when nobody knows, `details` in
    the words of its backend."""

    name: str
    backend: str
    context_window: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class ModelService:
    """One for the process; stores what it asks."""

    def __init__(
        self,
        router: Router,
        directory: ModelDirectory,
        backends: Mapping[str, ChatBackend],
        health: Health,
        *,
        load_s: float,
    ) -> None:
        """`load_s` bounds how long a backend may take to load a model."""
        self._router = router
        self._directory = directory
        self._backends = backends
        self._health = health
        self._load_s = load_s

    async def names(self) -> list[NamedModel]:
        """Everything a client may ask for by name."""
        return await self._router.names()

    async def show(self, model: str, *, dialect: str) -> Known:
        """What is known of `model`; its backend is asked where it speaks `dialect`.  Raises
        ModelNotFound."""
        found = await self._router.about(model)
        backend = self._backends[found.backend]
        if not isinstance(backend, ModelKeeper) or not backend.speaks(dialect):
            return Known(found)
        plan = await self._router.plan(model)
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                return Known(found, await backend.show(plan.candidates[0].upstream_model))
        except (BackendError, TimeoutError):
            return Known(found)

    async def knows(self, model: str) -> bool:
        """True for a name that a client may ask for."""
        try:
            await self._router.plan(model)
        except ModelNotFound:
            return False
        return True

    async def running(self) -> list[Running]:
        """Those of backends in good health of which it is known."""
        await self._directory.refresh()
        names = [name for name in self._backends if self._health.ejected_for(name) is None]
        rows = await asyncio.gather(*(self._running(name) for name in names))
        return [row for found in rows for row in found]

    async def load(self, request: ChatRequest, identity: Identity) -> str:
        """Tell the backend of a request without anything to answer, if it speaks its dialect; the
        name of the model it was about.  Raises ModelNotFound, BackendError."""
        plan = await self._router.plan(request.model)
        first = plan.candidates[0]
        backend = self._backends[first.backend]
        if backend.speaks(request.dialect):
            try:
                async with asyncio.timeout(self._load_s):
                    await backend.complete(request, first.upstream_model, identity)
            except TimeoutError:
                raise BackendTimeout(
                    f"backend {first.backend} did not load the model within {self._load_s:g} s",
                    backend=first.backend,
                ) from None
        return plan.selected

    async def _running(self, name: str) -> Sequence[Running]:
        backend = self._backends[name]
        if not isinstance(backend, ModelKeeper):
            if await self._directory.problem(name):
                return ()
            cards = [card for card in await self._directory.cards(name) if card.loaded]
            return [Running(card.name, name, card.context_window or 0) for card in cards]
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                rows = await backend.running()
        except (BackendError, TimeoutError):
            return ()
        named = [(row.get("name") or row.get("model"), row) for row in rows]
        return [Running(told, name, details=row) for told, row in named if isinstance(told, str)]
