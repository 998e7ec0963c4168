"""The last pieces that no ack has come for yet.  Pure but for the clock passed in.

Whoever follows a response must learn that it ended, so a last piece is sent again until JetStream
has it; again without its frames, which whoever follows then reads from the row.  The other pieces
are sent once: an ack for each would cost several times what sending it costs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.pieces import without_frames

ACK_S: Final = 2.0
TRIES: Final = 8
MOST: Final = 10_000


class _Ack(msgspec.Struct):
    seq: int = 0


_ack = msgspec.json.Decoder(_Ack)


@dataclass(slots=True)
class UnackedEnd:
    """The end of one response; `due` is when it is sent again."""

    trace_id: str
    piece: Piece
    due: float
    tries: int = 1


class UnackedEnds:
    """`lost` counts those that were given up; an answer that nobody took one sets
    `unserved`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.lost = 0
        self.unserved = False
        self._monotonic = monotonic
        self._waiting: dict[str, UnackedEnd] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def sent(self, trace_id: str, piece: Piece) -> str:
        """Wait for the ack of it; the token its answer is to carry."""
        self._count += 1
        token = str(self._count)
        self._waiting[token] = UnackedEnd(
            trace_id, without_frames(piece), self._monotonic() + ACK_S
        )
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]
            self.lost += 1
        return token

    def answered(self, token: str, status: str, data: bytes) -> None:
        """JetStream's ack or refusal; `status` is 503 when nobody takes the subject."""
        if token in self._waiting and not status and _is_ack(data):
            del self._waiting[token]
        elif status == "503":
            self.unserved = True

    def due(self) -> Iterator[tuple[str, UnackedEnd]]:
        """Those to be sent again now, with their tokens."""
        now = self._monotonic()
        for token, end in [(t, e) for t, e in self._waiting.items() if e.due <= now]:
            if end.tries >= TRIES:
                self.lost += self._waiting.pop(token, None) is not None
                continue
            end.tries += 1
            end.due = now + ACK_S
            yield token, end


def _is_ack(data: bytes) -> bool:
    try:
        return _ack.decode(data).seq > 0
    except msgspec.DecodeError:
        return False
