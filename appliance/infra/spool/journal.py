"""The segments of one directory as a queue: read in order, acked in any order, deleted from the
front.

Reading stays on disk: at most one chunk of frames is in memory, beside the newest records, which
the writer hands over as they are (`offer`) so that a shipper that keeps up never reads or decodes
anything.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.folder import Folder, read_progress
from appliance.infra.spool.frames import HEADER, Frames, count_frames, read_frames

CHUNK_BYTES = 256 * 1024
HOT_BYTES = 1024 * 1024
HOT_RECORDS = 512
_decoder = msgspec.json.Decoder(Exchange)


@dataclass(slots=True, eq=False)
class Segment:
    """One file.  `size` counts whole frames; a sealed one is not written to any more."""

    number: int
    path: Path
    size: int
    opened_at: float
    sealed: bool


class RecordGone(Exception):
    """A record that was handed out cannot be read again: damaged, or deleted by hand."""


class Ticket:
    """One record handed to the shipper; it goes back to `Spool.acked` or `Spool.poison`.

    `waiting` (messages not acked), `duplicates` (of them, those the stream had) and `conversation`
    are the shipper's.
    """

    __slots__ = (
        "_exchange",
        "_size",
        "after",
        "conversation",
        "done",
        "duplicates",
        "journal",
        "payload",
        "segment",
        "waiting",
    )

    def __init__(
        self,
        journal: "Journal",
        segment: Segment,
        after: int,
        payload: bytes,
        exchange: Exchange | None,
    ) -> None:
        self.journal = journal
        self.segment = segment
        self.after = after
        self.payload = payload
        self.done = False
        self.waiting = 0
        self.duplicates = 0
        self.conversation = ""
        self._exchange = exchange
        self._size = len(payload)

    def exchange(self) -> Exchange:
        """The record.  Raises msgspec.DecodeError when it is not one."""
        return self._exchange or _decoder.decode(self.payload)

    @property
    def start(self) -> int:
        """Where its frame begins in its segment."""
        return self.after - self._size - HEADER.size

    @property
    def cold(self) -> bool:
        """Its bytes are on the disk alone."""
        return not self.payload

    def cool(self) -> None:
        """Let go of the record's bytes: it waits for long.  `warm` gets them back."""
        self.payload = b""
        self._exchange = None

    async def warm(self) -> None:
        """The record's bytes are at hand.  Raises RecordGone, OSError."""
        if self.payload:
            return
        try:
            frames = await asyncio.to_thread(
                read_frames, self.segment.path, self.start, self.after, self.after - self.start
            )
        except FileNotFoundError as exc:
            raise RecordGone("its segment was deleted") from exc
        if not frames.records:
            raise RecordGone("it is damaged on the disk")
        self.payload = frames.records[0][0]


class Journal:
    """`depth_records` counts what is not acked, `bytes` what lies on disk."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.segments: deque[Segment] = deque()
        self.depth_records = 0
        self.bytes = 0
        self.torn = 0
        self.acked_to = self.noted_to = (0, 0)
        self.trash: list[Path] = []
        self._at: Segment | None = None
        self._offset = 0
        self._chunk: deque[tuple[bytes, int]] = deque()
        # Handed out and not acked, oldest first: one that is stuck keeps none of those behind it.
        self._open: OrderedDict[Ticket, None] = OrderedDict()
        self._handed_to = (0, 0)
        self._hot: deque[tuple[Segment, int, bytes, Exchange]] = deque()
        self._hot_bytes = 0

    def load(self, opened_at: float) -> None:
        """Take in a dead process's segments.  Blocks on the disk; raises OSError."""
        number, offset = read_progress(self.folder.path)
        for found, path, size in self.folder.segments():
            if found < number or size == 0:
                self.trash.append(path)
                continue
            start = offset if found == number and offset <= size else 0
            self.add(Segment(found, path, size, opened_at, sealed=True), start)
            self.bytes += size
            self.depth_records += count_frames(path, start, size)
        self.retire()  # all of it may have been acked

    def add(self, segment: Segment, start: int = 0) -> None:
        """Append `segment`; reading begins at `start` when it is the first."""
        self.segments.append(segment)
        if self._at is None:
            self._at, self._offset = segment, start

    def offer(self, segment: Segment, payload: bytes, exchange: Exchange) -> None:
        """Note a record just appended to `segment` (its size says where it ends) and keep it at
        hand."""
        self.depth_records += 1
        hot = self._hot
        hot.append((segment, segment.size, payload, exchange))
        self._hot_bytes += len(payload)
        while self._hot_bytes > HOT_BYTES or len(hot) > HOT_RECORDS:
            self._hot_bytes -= len(hot.popleft()[2])

    async def take(self, limit: int) -> list[Ticket]:
        """Up to `limit` records not handed out yet, oldest first, fewer when they are large; []
        when there are none.  Raises OSError."""
        taken: list[Ticket] = []
        taken_bytes = 0
        while len(taken) < limit and taken_bytes < CHUNK_BYTES:
            if self._chunk and self._at is not None:
                payload, after = self._chunk.popleft()
                taken_bytes += len(payload)
                taken.append(self._hand_out(self._at, after, payload, None))
            elif self._hot_is_next():
                segment, after, payload, exchange = self._hot.popleft()
                self._hot_bytes -= len(payload)
                taken_bytes += len(payload)
                self._at, self._offset = segment, after
                taken.append(self._hand_out(segment, after, payload, exchange))
            elif taken or not await self._fill():
                break
        return taken

    def ack(self, ticket: Ticket) -> None:
        """`ticket` needs no more care; what is acked from the front on may be deleted."""
        ticket.done = True
        self.depth_records -= 1
        self._open.pop(ticket, None)
        first = self._oldest_open
        self.acked_to = (first.segment.number, first.start) if first else self._handed_to
        self.retire()
        if self.idle:
            self.depth_records = 0

    def retire(self) -> None:
        """Move sealed segments with nothing left in them to `trash`."""
        while self.segments and self.segments[0].sealed:
            first = self.segments[0]
            read = self._at is not first or (self._offset >= first.size and not self._chunk)
            oldest = self._oldest_open
            if not read or (oldest is not None and oldest.segment is first):
                return
            self.segments.popleft()
            self.trash.append(first.path)
            self.bytes -= first.size
            if self._at is first:
                self._at = self.segments[0] if self.segments else None
                self._offset = 0

    @property
    def idle(self) -> bool:
        """Everything that was kept is acked."""
        at = self._at
        through = at is None or (at is self.segments[-1] and self._offset >= at.size)
        return through and not self._open and not self._chunk

    @property
    def oldest_at(self) -> float | None:
        """Unix seconds before which nothing waits; None when nothing does."""
        return None if self.idle or not self.segments else self.segments[0].opened_at

    @property
    def _oldest_open(self) -> Ticket | None:
        return next(iter(self._open), None)

    def _hand_out(
        self, segment: Segment, after: int, payload: bytes, exchange: Exchange | None
    ) -> Ticket:
        ticket = Ticket(self, segment, after, payload, exchange)
        self._open[ticket] = None
        self._handed_to = (segment.number, after)
        return ticket

    def _hot_is_next(self) -> bool:
        if not self._hot:
            return False
        segment, after, payload, _ = self._hot[0]
        start = after - len(payload) - HEADER.size
        if segment is self._at:
            return self._offset == start
        return start == 0 and self._ends_before(segment)

    def _ends_before(self, segment: Segment) -> bool:
        """Reading is through with the segment just before `segment`."""
        at = self._at
        return (
            at is not None
            and at.sealed
            and self._offset >= at.size
            and at.number == segment.number - 1
        )

    async def _fill(self) -> bool:
        """Read the next chunk; False when there is nothing to read."""
        while (at := self._at) is not None:
            end = at.size
            if self._hot and self._hot[0][0] is at:
                end = self._hot[0][1] - len(self._hot[0][2]) - HEADER.size
            if self._offset < end:
                return await self._read(at, end)
            if not at.sealed or not self._advance(at):
                return False
        return False

    def _advance(self, at: Segment) -> bool:
        """Step to the segment after `at`; False when it is the last."""
        later = next((s for s in self.segments if s.number > at.number), None)
        if later is not None:
            self._at, self._offset = later, 0
        self.retire()
        return later is not None

    async def _read(self, at: Segment, end: int) -> bool:
        try:
            frames = await asyncio.to_thread(read_frames, at.path, self._offset, end, CHUNK_BYTES)
        except FileNotFoundError:  # deleted by hand: nothing to wait for
            frames = Frames([], end, damaged=0, torn=True)
        self._chunk.extend(frames.records)
        self._offset = end if frames.torn else frames.after
        self.torn += frames.damaged + frames.torn
        self.depth_records -= frames.damaged
        return True
