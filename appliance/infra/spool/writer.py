"""Appends frames to the newest segment of this process's journal.  One completed write per record.

The path of a request ends here: no lock, no fsync, no wait.  `dirty` and `finished` go to a thread
that syncs.
"""

import errno
import os
import time
from collections.abc import Callable

from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.frames import MAX_RECORD_BYTES, frame
from appliance.infra.spool.journal import Journal, Segment


class Writer:
    """The writing end of `journal`.  `finished`: handles of sealed segments, to be synced and
    closed."""

    def __init__(
        self, journal: Journal, segment_bytes: int, wall: Callable[[], float] = time.time
    ) -> None:
        self.finished: list[int] = []
        self.dirty = False
        self._journal = journal
        self._segment_bytes = segment_bytes
        self._wall = wall
        self._handle = -1
        self._active: Segment | None = None
        self._next_number = 1

    @property
    def handle(self) -> int:
        """The active segment's file descriptor; -1 when there is none."""
        return self._handle

    def append(self, payload: bytes, exchange: Exchange) -> None:
        """Raises OSError when the record is not whole on its way to disk; then nothing of it
        stays."""
        if len(payload) > MAX_RECORD_BYTES:  # nobody would read it back
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        data = frame(payload)
        active = self._active
        if active is None or (active.size and active.size + len(data) > self._segment_bytes):
            active = self.roll()
        written = os.write(self._handle, data)
        if written != len(data):
            self._undo(active)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        active.size += written
        self._journal.bytes += written
        self.dirty = True
        self._journal.offer(active, payload, exchange)

    def recycle(self, min_bytes: int, min_age_s: float) -> None:
        """Begin a new segment, so that the old one goes, when all in it is acked and it is worth
        it."""
        active = self._active
        if active is None or not active.size or not self._journal.idle:
            return
        if active.size >= min_bytes or self._wall() - active.opened_at >= min_age_s:
            try:
                self.roll()
            except OSError:  # a full disk: room comes first, the next record opens the next segment
                self.seal()

    def roll(self) -> Segment:
        """Seal the active segment and open the next.  Raises OSError, and then nothing has
        changed."""
        path = self._journal.folder.segment(self._next_number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
        self.seal()
        self._handle = handle
        self._active = Segment(self._next_number, path, 0, self._wall(), sealed=False)
        self._next_number += 1
        self._journal.add(self._active)
        self._journal.retire()
        return self._active

    def seal(self) -> None:
        """Write no more to the active segment; whoever syncs closes it."""
        if self._active is not None:
            self._active.sealed = True
            self.finished.append(self._handle)
            self._active, self._handle = None, -1
            self._journal.retire()

    def _undo(self, active: Segment) -> None:
        """Cut a half-written frame off; where even that fails, leave it behind in a sealed
        segment."""
        try:
            os.ftruncate(self._handle, active.size)
        except OSError:
            self.seal()
