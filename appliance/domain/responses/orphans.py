"""What becomes of a response whose gateway is gone: it has failed, with what its events had said.

Any gateway finds out, when the response is read or in its round, and the first one to write the row
tells those who still follow.
"""

import asyncio
from collections.abc import Callable, Sequence

from appliance.domain.errors import PartUnavailable
from appliance.domain.responses import frames
from appliance.domain.responses.ports import Piece, ResponseEvents, ResponseStore
from appliance.domain.responses.record import LIVE, StoredResponse
from appliance.domain.responses.wiring import ResponseWire

PATIENCE_S = 60.0  # how long a row waits for its events: what is settled without them stays so
MOST_WAITING = 10_000
GONE = "The gateway that produced this response is gone."


class Orphans:
    """Whether a lease that has run out means anything is the store's to say: not where nobody could
    renew it.  `monotonic` gives seconds."""

    def __init__(
        self,
        store: ResponseStore,
        events: ResponseEvents,
        wire: ResponseWire,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._events = events
        self._wire = wire
        self._monotonic = monotonic
        self._waiting: dict[str, float] = {}  # for their events, since when; the oldest first

    async def resolved(self, row: StoredResponse) -> StoredResponse | None:
        """`row` as it is once it was looked after: the same where it is no orphan, or where its
        events are not to be had yet; None where nothing is kept of it.

        Raises PartUnavailable(part="postgres").
        """
        if not (row.orphaned and row.status in LIVE):
            return row
        try:
            pieces = await self._events.kept(row.trace_id)
        except PartUnavailable:
            if self._may_come(row.id):
                return row
            pieces = ()
        self._waiting.pop(row.id, None)
        said, ended = _joined(pieces)
        if ended:
            return await self._unstored(row.id)
        # Not on the loop: it may be 64 MiB.
        resource, events, last = await asyncio.to_thread(self._rebuilt, row.resource, said)
        if await self._store.finish(row.id, "failed", resource, events):
            self._events.publish(row.trace_id, last)
        return await self._store.get(row.id)

    def _may_come(self, response_id: str) -> bool:
        since = self._waiting.setdefault(response_id, self._monotonic())
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return self._monotonic() - since < PATIENCE_S

    async def _unstored(self, response_id: str) -> StoredResponse | None:
        """Its last frame is out, for which its row was written before, if at all: where it was
        not, its client was told that nothing is stored."""
        row = await self._store.get(response_id)
        if row is not None and row.status in LIVE:
            await self._store.delete(response_id)
            return None
        return row

    def _rebuilt(self, resource: bytes, said: bytes) -> tuple[bytes, bytes, Piece]:
        """Resource and frames of the row, and what is new of these to those who follow."""
        resource, events = self._wire.rebuilt(resource, said, GONE)
        known = min(frames.count(said), frames.count(events) - 1)
        return resource, events, Piece(known, frames.after(events, known), last=True)


def _joined(pieces: Sequence[Piece]) -> tuple[bytes, bool]:
    """The frames from the first one on, as far as they were kept without a gap; and whether the
    last one is among them."""
    found: list[bytes] = []
    count = 0
    for piece in pieces:
        if piece.first > count:
            break
        new = frames.after(piece.frames, count - piece.first)
        found.append(new)
        count += frames.count(new)
        if piece.last:
            return b"".join(found), True
    return b"".join(found), False
