"""What each backend lists, probed when asked for and kept for a while.  Used by the router and
`/v1/models`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.domain.chat.ports import ChatBackend, ModelCard
from appliance.domain.errors import BackendError

PROBE_TIMEOUT_S = 3.0
RETRY_AFTER_S = 0.5  # a backend that starts up beside us is seen soon


@dataclass(slots=True)
class _Listing:
    cards: list[ModelCard]
    error: str
    expires_at: float


class ModelDirectory:
    """One listing a backend, refreshed after `ttl_s`; a failed probe keeps the last list and is
    retried sooner."""

    def __init__(
        self, backends: Mapping[str, ChatBackend], *, ttl_s: float, clock: Callable[[], float]
    ) -> None:
        self._backends = backends
        self._ttl_s = ttl_s
        self._clock = clock
        self._listings: dict[str, _Listing] = {}
        self.version = 0  # counts the listings taken in
        self._locks = {name: asyncio.Lock() for name in backends}

    async def cards(self, backend: str) -> list[ModelCard]:
        """The models `backend` lists; empty when it cannot be asked."""
        return (await self._listing(backend)).cards

    async def problem(self, backend: str) -> str:
        """Why `backend` could not be asked at its last probe; empty when it answered."""
        return (await self._listing(backend)).error

    async def refresh(self) -> None:
        """Probe every backend whose listing has expired, all at once."""
        await asyncio.gather(*(self._listing(name) for name in self._backends))

    def known(self, backend: str, name: str) -> ModelCard | None:
        """What the last listing says of `name`, without probing."""
        listing = self._listings.get(backend)
        found = (c for c in listing.cards if name in (c.name, c.upstream)) if listing else ()
        return next(iter(found), None)

    async def _listing(self, backend: str) -> _Listing:
        listing = self._listings.get(backend)
        if listing is not None and self._clock() < listing.expires_at:
            return listing
        async with self._locks[backend]:
            listing = self._listings.get(backend)
            if listing is None or self._clock() >= listing.expires_at:
                listing = self._listings[backend] = await self._probe(backend, listing)
                self.version += 1
            return listing

    async def _probe(self, backend: str, last: _Listing | None) -> _Listing:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                cards = await self._backends[backend].models()
            return _Listing(cards, "", self._clock() + self._ttl_s)
        except (BackendError, TimeoutError) as exc:
            problem = str(exc) or f"did not list its models within {PROBE_TIMEOUT_S:.0f} s"
            retry_at = self._clock() + min(RETRY_AFTER_S, self._ttl_s)
            return _Listing(last.cards if last else [], problem, retry_at)
