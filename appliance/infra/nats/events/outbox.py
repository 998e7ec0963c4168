"""What waits to be published: bounded, whatever NATS does.  Pure; between `publish` and the pump.

Where there is no room, a response is cut: a reader can do nothing with what comes after a gap, so
all of it is dropped but the word that it ended.
"""

from collections import deque
from typing import Final

from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.pieces import without_frames

OVERHEAD_BYTES: Final = 300  # of a piece in memory, beside its frames
MOST_CUT: Final = 10_000
MOST_CANCELS: Final = 1000
_ENDS: Final = 2  # ends are short: there is room for them where there is none for anything else


class Outbox:
    """At most `most_bytes` of pieces, first in, first out.  `dropped` counts those left out."""

    def __init__(self, most_bytes: int) -> None:
        self.cancels: deque[str] = deque(maxlen=MOST_CANCELS)  # trace ids
        self.dropped = 0
        self._most_bytes = most_bytes
        self._pieces: deque[tuple[str, Piece]] = deque()
        self._bytes = 0
        self._cut: dict[str, None] = {}  # in order: the oldest go first

    def __bool__(self) -> bool:
        return bool(self._pieces or self.cancels)

    def put(self, trace_id: str, piece: Piece) -> None:
        """Take it, or cut its response."""
        if trace_id not in self._cut:
            if self._room(piece, self._most_bytes):
                self._append(trace_id, piece)
                return
            self._cut[trace_id] = None
            if len(self._cut) > MOST_CUT:
                del self._cut[next(iter(self._cut))]
        self.dropped += 1
        if piece.last:
            self._cut.pop(trace_id, None)
            end = without_frames(piece)
            if self._room(end, _ENDS * self._most_bytes):
                self._append(trace_id, end)

    def take(self) -> tuple[str, Piece] | None:
        """The oldest, with its trace id."""
        if not self._pieces:
            return None
        trace_id, piece = self._pieces.popleft()
        self._bytes -= _size(piece)
        return trace_id, piece

    def _room(self, piece: Piece, most_bytes: int) -> bool:
        return self._bytes + _size(piece) <= most_bytes

    def _append(self, trace_id: str, piece: Piece) -> None:
        self._pieces.append((trace_id, piece))
        self._bytes += _size(piece)


def _size(piece: Piece) -> int:
    return len(piece.frames) + OVERHEAD_BYTES
