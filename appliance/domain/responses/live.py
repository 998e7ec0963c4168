"""The frames of one response while it is produced: in memory for whoever reads it here, and in
small batches on their way to other gateways.  Filled by production.py, read by follow.py."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from appliance.domain.chat.turn import Caller
from appliance.domain.errors import ApplianceError
from appliance.domain.responses import frames
from appliance.domain.responses.ports import Piece, ResponseEvents
from appliance.domain.responses.record import Item

MAX_PIECE_BYTES = 256 * 1024  # below what a NATS server takes, save where one step is larger


class Producer(Protocol):
    """Who makes a live response, for those who ask for it, or for its end."""

    @property
    def input_items(self) -> Sequence[Item]:
        """What its request said."""

    def resource(self) -> bytes:
        """What a client sees of it now."""

    def stop(self, error: ApplianceError) -> None:
        """A background one ends so; any other is not kept any more."""

    def forget(self, why: str = "") -> None:
        """Keep nothing of it; a background one ends.  `why` as in Production.unstored."""


class _Gone:
    """Of a response that is over: there is nothing to ask for."""

    input_items: Sequence[Item] = ()

    def resource(self) -> bytes:
        """Nobody finds it to ask."""
        return b""

    def stop(self, error: ApplianceError) -> None:
        """It has ended."""

    def forget(self, why: str = "") -> None:
        """Its row is no longer its producer's."""


GONE: Final = _Gone()


class LiveResponse:
    """`whole`: its last frame is there.  `lost`: it is not kept any more, and nobody can read on.

    `producer` is who makes it, until its row says all there is.
    """

    def __init__(
        self,
        response_id: str,
        producer: Producer,
        caller: Caller,
        *,
        background: bool,
        events: ResponseEvents,
        publish_every_s: float,
        room_bytes: int,
    ) -> None:
        self.id = response_id
        self.producer = producer
        self.trace_id = caller.identity.trace_id
        self.key_name = owner(caller)
        self.background = background
        self.leased = False  # its row is there
        self.whole = False
        self.lost = False
        self.count = 0  # frames so far
        self.size_bytes = 0  # of them
        self._events = events
        self._publish_every_s = publish_every_s
        self._most_bytes = room_bytes
        self._chunks: list[bytes] = []
        self._firsts: list[int] = []  # the sequence number each chunk begins with
        self._sent = 0  # chunks that were published
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, chunk: bytes, count: int) -> bool:
        """The next frames, after which there are `count`; False where they are more than may be
        kept: no others are to follow but the last."""
        if self.lost:
            return True
        self.size_bytes += len(chunk)
        self._firsts.append(self.count)
        self._chunks.append(chunk)
        self.count = count
        if self._timer is None:
            loop, every_s = asyncio.get_running_loop(), self._publish_every_s
            # At the same moments for all responses: what they have to say leaves in one write.
            self._timer = loop.call_at((loop.time() // every_s + 1) * every_s, self._publish)
        if self._waiting:
            self._wake()
        return self.size_bytes <= self._most_bytes

    def end(self, chunk: bytes, count: int) -> None:
        """The last frames; here there is always room for them."""
        if self.lost:
            return
        self._firsts.append(self.count)
        self._chunks.append(chunk)
        self.count = count
        self.whole = True
        self._publish()
        self._wake()

    def lose(self) -> None:
        """Nothing of it is kept from here on: its readers end."""
        self.lost = True
        self._chunks, self._firsts, self._sent = [], [], 0
        self._stop_timer()
        self._wake()

    @property
    def events(self) -> bytes:
        """All frames so far."""
        return b"".join(self._chunks)

    async def read(self, first: int) -> AsyncGenerator[bytes, None]:
        """The frames from number `first` on, as they come; ends when it is whole or lost."""
        place = -1
        while not self.lost:
            if place < 0 and first < self.count:
                place = bisect_right(self._firsts, first) - 1
                skipped = frames.after(self._chunks[place], first - self._firsts[place])
                place += 1
                if skipped:
                    yield skipped
            elif 0 <= place < len(self._chunks):
                ready, place = self._chunks[place:], len(self._chunks)
                yield b"".join(ready)
            elif self.whole:
                return
            else:
                await self._more()

    async def over(self) -> None:
        """Return when it is whole or lost."""
        while not (self.whole or self.lost):
            await self._more()

    async def _more(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _publish(self) -> None:
        """Send what is new, in pieces a server takes."""
        self._stop_timer()
        while self._sent < len(self._chunks):
            begun, size = self._sent, 0
            while self._sent < len(self._chunks):
                size += len(self._chunks[self._sent])
                if size > MAX_PIECE_BYTES and self._sent > begun:
                    break
                self._sent += 1
            last = self.whole and self._sent == len(self._chunks)
            chunk = b"".join(self._chunks[begun : self._sent])
            self._events.publish(self.trace_id, Piece(self._firsts[begun], chunk, last))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LiveResponses:
    """Those this gateway produces and keeps, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveResponse] = {}

    def add(self, live: LiveResponse) -> None:
        """From here on it can be read, and its lease is renewed."""
        self._by_id[live.id] = live

    def remove(self, live: LiveResponse) -> None:
        """Its row says all there is, or nobody may know of it; its producer is let go of, which
        holds it: a response in a circle lives until the collector finds it."""
        self._by_id.pop(live.id, None)
        live.producer = GONE

    def get(self, response_id: str) -> LiveResponse | None:
        """None where it is not of this gateway, or is over."""
        return self._by_id.get(response_id)

    def all(self) -> list[LiveResponse]:
        """Every one."""
        return list(self._by_id.values())

    def above(self, most_bytes: int) -> list[LiveResponse]:
        """The largest of those that need not be kept, as many as are above `most_bytes` of all."""
        lives, found = self.all(), []
        excess_bytes = sum(live.size_bytes for live in lives) - most_bytes
        for live in sorted(lives, key=lambda live: live.size_bytes, reverse=True):
            if excess_bytes <= 0:
                break
            if not live.background:
                found.append(live)
                excess_bytes -= live.size_bytes
        return found

    @property
    def background(self) -> int:
        """How many are background ones."""
        return sum(live.background for live in self._by_id.values())


def owner(caller: Caller) -> str:
    """Whose responses the caller's are: the name of the key, "" where nobody needs one."""
    return caller.key.name if caller.key else ""
