"""Read the stream of a response that somebody produces: from memory where that is this gateway,
from its events where it is another, and from its row once that is whole.

A reader gets every frame from the one it asked for, once and in order, whichever of these it comes
from; where the rest is nowhere to be had, a last frame of its own says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from appliance.domain.errors import ApplianceError, NotFound, PartUnavailable
from appliance.domain.responses import frames
from appliance.domain.responses.live import LiveResponse
from appliance.domain.responses.orphans import Orphans
from appliance.domain.responses.ports import Piece, ResponseEvents, ResponseStore
from appliance.domain.responses.record import LIVE, StoredResponse
from appliance.domain.responses.wiring import ResponseLimits, ResponseWire
from appliance.domain.tasks import ended

POLL_MIN_S = 0.05
POLL_MAX_S = 1.0
_NOTHING_MORE = "This response has failed, and nothing more is kept of it."


async def from_memory(
    live: LiveResponse, first: int, wire: ResponseWire
) -> AsyncGenerator[bytes, None]:
    """The frames from number `first` on, of one that this gateway produces."""
    at = first
    async with aclosing(live.read(first)) as chunks:
        async for chunk in chunks:
            at += frames.count(chunk)
            yield chunk
    if live.lost:
        yield wire.failure(_gone(), at)


def rest_of(whole: StoredResponse, first: int, wire: ResponseWire) -> bytes:
    """The frames from number `first` on.  A gateway that died may have taken some with it that its
    client has: whoever asks for what follows them is told that it failed, too."""
    rest = frames.after(whole.events, first)
    if rest or whole.status != "failed":
        return rest
    return wire.failure(PartUnavailable(_NOTHING_MORE, part="gateway"), first)


class Follower:
    """Follows what other gateways produce.  `monotonic` gives seconds."""

    def __init__(
        self,
        store: ResponseStore,
        events: ResponseEvents,
        orphans: Orphans,
        wire: ResponseWire,
        limits: ResponseLimits,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._events = events
        self._orphans = orphans
        self._wire = wire
        self._limits = limits
        self._monotonic = monotonic

    async def read(self, row: StoredResponse, first: int) -> AsyncGenerator[bytes, None]:
        """The frames from number `first` on, as they come."""
        at = first
        if row.status in LIVE:
            async with aclosing(self._pieces(row)) as pieces:
                async for piece in pieces:
                    if piece.first > at:
                        break  # one is missing: the row will have it
                    if fresh := frames.after(piece.frames, at - piece.first):
                        at += frames.count(fresh)
                        yield fresh
                    if piece.last:
                        if at == piece.first + frames.count(piece.frames):
                            return
                        break  # whoever ended it knew less than this reader has
        try:
            whole = await self.whole(row.id, self._limits.total_s)
            if whole is None:
                raise _gone()
            if rest := rest_of(whole, at, self._wire):
                yield rest
        except ApplianceError as exc:
            yield self._wire.failure(exc, at)

    async def whole(self, response_id: str, within_s: float) -> StoredResponse | None:
        """The row with its events once it is whole, None where it was deleted.

        Raises PartUnavailable when it is not within that time, or PostgreSQL has been away for all
        of it.
        """
        until, pause_s = self._monotonic() + within_s, POLL_MIN_S
        while True:
            try:
                row = await self.look(response_id)
                if row is None or row.status not in LIVE:
                    return row and await self._store.get(response_id)
                problem = PartUnavailable("The response is still in progress.", part="gateway")
            except PartUnavailable as exc:
                problem = exc
            if self._monotonic() >= until:
                raise problem
            await asyncio.sleep(pause_s)
            pause_s = min(POLL_MAX_S, pause_s * 2)

    async def look(self, response_id: str) -> StoredResponse | None:
        """The row as it is now, an orphan looked after; without events as a rule."""
        found = await self._store.chain(response_id, most=1)
        return await self._orphans.resolved(found[-1]) if found else None

    async def _pieces(self, row: StoredResponse) -> AsyncGenerator[Piece, None]:
        """As they come, until the last one; they end earlier where NATS is away, or the row is
        found not to be live any more."""
        async with aclosing(self._events.follow(row.trace_id)) as pieces:
            while True:
                # Owned: ended below, before the generator it runs is closed.
                coming = asyncio.ensure_future(anext(pieces, None))
                try:
                    while not (await asyncio.wait({coming}, timeout=self._patience_s))[0]:
                        if not await self._is_live(row.id):
                            return
                    piece = await coming
                except PartUnavailable:
                    return
                finally:
                    await ended(coming)
                if piece is None:
                    return
                yield piece

    @property
    def _patience_s(self) -> float:
        """How long silence needs no explanation."""
        return min(POLL_MAX_S, self._limits.lease_s / 3)

    async def _is_live(self, response_id: str) -> bool:
        try:
            row = await self.look(response_id)
        except PartUnavailable:
            return True  # as far as anybody knows
        return row is not None and row.status in LIVE


def _gone() -> NotFound:
    return NotFound("This response is not kept any more.", code="response_not_found")
