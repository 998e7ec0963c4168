"""One streamed exchange within its limits of time: held for the first content, then frames, then an
end, also where it fails.  The core of step 9 of the path, without its HTTP.

Used by transport/streaming.py for the surfaces of chat and by domain/responses/production.py, which
differ in what they write, and in what they do before their last frame.  A chunk passes nothing here
but one generator.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import ApplianceError
from appliance.domain.tasks import ended


class BoundedStream:
    """`open` waits for the first content; `frames`, called once, yields what `write` makes of the
    deltas and then the last frame, `end`'s or `failed`'s; `close` aborts what is still running.

    A limit that runs out while a client takes nothing has nobody to tell: it cancels the task that
    iterates in whatever that waits for.  Once the frames are closed the cancellation is taken back,
    and `stuck` is the error.
    """

    def __init__(
        self,
        service: ChatService,
        turn: Turn,
        *,
        write: Callable[[Delta], bytes],
        end: Callable[[], Awaitable[bytes]],
        failed: Callable[[Exception], Awaitable[bytes]],
    ) -> None:
        self._service = service
        self._turn = turn
        self._write = write
        self._end = end
        self._failed = failed
        self._deltas: AsyncGenerator[Delta, None] = service.stream(turn)
        self._first: asyncio.Task[Delta | None] | None = None
        self._frames: AsyncGenerator[bytes, None] | None = None
        self._limit: asyncio.Timeout | None = None  # while frames are made
        self._interrupted: ApplianceError | None = None
        self._cancelled = False
        self.stuck: ApplianceError | None = None

    async def open(self, hold_s: float) -> None:
        """Return once there is content, or `hold_s` has passed.  Raises the error tree."""
        limits = self._service.limits
        within_s = min(hold_s, limits.first_token_s, limits.total_s)
        first = self._begin()
        try:
            await asyncio.wait({first}, timeout=within_s)
            if first.done():
                first.result()
            elif within_s < hold_s:
                raise self._gave_up()
        except BaseException:
            await self.close()
            raise
        self._turn.committed = True

    def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames, none of them empty; the last one is `end`'s or `failed`'s."""
        self._frames = self._emit()
        return self._frames

    def interrupt(self, error: ApplianceError, *, recorded: bool = True) -> None:
        """End the answer now, with `error` handed to `failed`; without effect before the first
        frame was asked for and after the last.  Not `recorded`: the exchange is a cancelled one."""
        if self._limit is None:
            return
        with suppress(RuntimeError):  # the limit is over, and so is the answer
            self._limit.reschedule(0)
            self._interrupted, self._cancelled = error, not recorded
            if recorded:  # before the cancelled stream records itself
                self._service.fail(self._turn, error)

    async def close(self) -> None:
        """Abort the upstream request, wherever it is; without effect once all is over."""
        if self._first is not None:
            await ended(self._first)
        if self._frames is not None:
            frames, self._frames = self._frames, None
            await frames.aclose()
        await self._deltas.aclose()
        # Whoever made this holds it: a request in a circle lives until the collector finds it.
        self._write, self._end, self._failed = _unwritten, _no_end, _no_failure

    def _begin(self) -> "asyncio.Task[Delta | None]":
        if self._first is None:
            self._first = asyncio.ensure_future(anext(self._deltas, None))
        return self._first

    async def _emit(self) -> AsyncGenerator[bytes, None]:
        turn, limits, write = self._turn, self._service.limits, self._write
        turn.expires_at = turn.started + min(limits.first_token_s, limits.total_s)
        try:
            async with asyncio.timeout_at(turn.expires_at) as self._limit:
                delta = await self._begin()
                turn.expires_at = turn.started + limits.total_s
                self._limit.reschedule(turn.expires_at)
                if delta is not None:
                    if frame := write(delta):
                        yield frame
                    async for delta in self._deltas:
                        if frame := write(delta):
                            yield frame
            last = await self._end()
        except GeneratorExit:
            if self._limit is not None and self._limit.expired():
                self.stuck = self._gave_up()
            raise
        except TimeoutError:
            if self._cancelled:
                await self._deltas.aclose()  # which records it as what it is
            last = await self._failed(self._gave_up())
        except Exception as exc:  # noqa: BLE001 - the last catch once headers are out
            self._service.fail(self._turn, exc)
            await self._deltas.aclose()  # where it was not the backend that failed
            last = await self._failed(exc)
        if last:
            yield last

    def _gave_up(self) -> ApplianceError:
        error = self._interrupted or self._service.expired(self._turn)
        self._service.fail(self._turn, error)
        return error


def _unwritten(delta: Delta) -> bytes:
    return b""


async def _no_end() -> bytes:
    return b""


async def _no_failure(error: Exception) -> bytes:
    return b""
