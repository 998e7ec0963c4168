"""What becomes of a response whose gateway is gone: it has failed, with what its events had said.

Any gateway finds out, when the response is read or in its round, and the first one to write the row
tells those who still follow.
"""

import asyncio
from contextlib import aclosing, suppress

from appliance.domain.errors import PartUnavailable
from appliance.domain.responses import frames
from appliance.domain.responses.ports import Piece, ResponseEvents, ResponseStore
from appliance.domain.responses.record import LIVE, StoredResponse
from appliance.domain.responses.wiring import Wire

GATHER_S = 2.0  # for all that is kept of its events
QUIET_S = 0.3  # nothing more is kept when nothing has come for so long
GONE = "The gateway that produced this response is gone."


class Orphans:
    """Whether a lease that has run out means anything is the store's to say: not where nobody could
    renew it."""

    def __init__(self, store: ResponseStore, events: ResponseEvents, wire: Wire) -> None:
        self._store = store
        self._events = events
        self._wire = wire

    async def settled(self, row: StoredResponse) -> StoredResponse | None:
        """`row` as it is once it was looked after: the same where it is no orphan, None where
        nothing is kept of it.  Raises PartUnavailable(part="postgres")."""
        if not (row.orphaned and row.status in LIVE):
            return row
        said, ended = await self._said(row.trace_id)
        if ended:
            return await self._unstored(row.id)
        resource, events = self._wire.rebuilt(row.resource, said, GONE)
        if await self._store.finish(row.id, "failed", resource, events):
            known = frames.count(said)
            self._events.publish(row.trace_id, Piece(known, frames.after(events, known), last=True))
        return await self._store.get(row.id)

    async def _unstored(self, response_id: str) -> StoredResponse | None:
        """Its last frame is out, for which its row was written before, if at all: where it was
        not, its client was told that nothing is stored."""
        row = await self._store.get(response_id)
        if row is not None and row.status in LIVE:
            await self._store.delete(response_id)
            return None
        return row

    async def _said(self, trace_id: str) -> tuple[bytes, bool]:
        """Its frames from the first one on, as far as they were kept without a gap; and whether
        the last one is among them."""
        found: list[bytes] = []
        count = 0
        with suppress(PartUnavailable, TimeoutError):
            async with (
                asyncio.timeout(GATHER_S),
                aclosing(self._events.follow(trace_id)) as pieces,
            ):
                while True:
                    async with asyncio.timeout(QUIET_S):
                        piece = await anext(pieces, None)
                    if piece is None or piece.first > count:
                        break
                    new = frames.after(piece.frames, count - piece.first)
                    found.append(new)
                    count += frames.count(new)
                    if piece.last:
                        return b"".join(found), True
        return b"".join(found), False
