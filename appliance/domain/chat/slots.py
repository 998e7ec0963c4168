"""At most `max_in_flight` requests on one backend, and a bounded queue before it.  Used by
chat/service.py."""

import asyncio
from collections import deque
from dataclasses import dataclass

from appliance.domain.errors import BackendBusy


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """`queue_timeout_s` bounds the wait of one request, `max_queue` how many may wait."""

    max_in_flight: int
    max_queue: int
    queue_timeout_s: float


class Slots:
    """First come, first served.  Raises BackendBusy when the queue is full or the wait too long."""

    def __init__(self, backend: str, limits: SlotLimits) -> None:
        self._backend = backend
        self._limits = limits
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0

    @property
    def queued(self) -> int:
        """How many requests wait for a slot."""
        return len(self._waiting)

    def slot(self) -> "_Slot":
        """`async with`: hold one slot for the time of the block."""
        return _Slot(self)

    async def take(self) -> None:
        """Wait for a slot; whoever took one gives it back."""
        if self.in_flight >= self._limits.max_in_flight:
            await self._wait()
        else:
            self.in_flight += 1

    def give(self) -> None:
        """Pass the slot to who waits longest, or free it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot passes on; in_flight stays
                return
        self.in_flight -= 1

    async def _wait(self) -> None:
        if len(self._waiting) >= self._limits.max_queue:
            raise self._busy("its queue is full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._limits.queue_timeout_s):
                await turn
        except BaseException as exc:
            self._give_up(turn)
            if isinstance(exc, TimeoutError):
                raise self._busy(
                    f"no slot came free in {self._limits.queue_timeout_s:g} s"
                ) from exc
            raise

    def _give_up(self, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():
            self.give()  # the slot was handed over in the very moment the waiter left
        elif turn in self._waiting:
            self._waiting.remove(turn)

    def _busy(self, why: str) -> BackendBusy:
        return BackendBusy(
            f"backend {self._backend} has {self.in_flight} requests in flight and {why}",
            backend=self._backend,
            retry_after_s=max(1.0, min(30.0, self._limits.queue_timeout_s)),
        )


class _Slot:
    """One stay; a class and not a generator, which costs three times as much a request."""

    __slots__ = ("_slots",)

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    async def __aenter__(self) -> None:
        await self._slots.take()

    async def __aexit__(self, *exc: object) -> None:
        self._slots.give()
