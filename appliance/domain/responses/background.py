"""A response that is produced in the background: its row comes first, then a task of the service's
makes it, whoever reads it meanwhile.  What else becomes of it is as in `production.py`.
"""

import asyncio
from collections.abc import AsyncGenerator

from appliance.domain.chat.bounded import BoundedStream
from appliance.domain.errors import (
    ApplianceError,
    BackendBusy,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.responses.follow import from_memory
from appliance.domain.responses.live import LiveResponse
from appliance.domain.responses.production import DEGRADED, Production
from appliance.domain.responses.record import ResponseRequest
from appliance.domain.responses.wiring import ResponseLimits
from appliance.domain.responses.writer import Cancelled

BUSY_RETRY_S = 5.0


class BackgroundProduction(Production):
    """See Production.  `once()` is the resource as it waits to be produced, and `frames()` reads
    along; a client that leaves ends nothing."""

    _patient = True  # nobody waits: its row is tried for
    _queued = b""  # the resource it is answered with
    _running: LiveResponse | None = None  # from `open` on
    _told: ApplianceError | None = None  # how it shall end

    async def open(self) -> None:
        """Return once its row is there.  Raises the error tree."""
        self._require_room()
        begun = self._encoder.queued()
        self._queued = self._encoder.resource()
        begun += self._writer.opening(named=False)
        if len(begun) + len(self._input) > self._context.limits.max_bytes:
            raise self._too_large()
        self._stream, self._live = stream, live = self._bounded(), self._new_live()
        live.add(begun, self._encoder.count)
        self._context.in_progress.add(live)
        try:
            await self._create(live)
        except BaseException:  # its client left: nobody knows of it
            self._let_go()
            raise
        if not self.stored:
            raise PartUnavailable(
                "a background response must be stored, and PostgreSQL does not take it",
                part="postgres",
            )
        self.turn.committed, self._running = True, live
        self._context.tasks.spawn(self._produce(stream))

    def frames(self) -> AsyncGenerator[bytes, None]:
        """See Production."""
        assert self._running is not None, "open() comes first"
        return from_memory(self._running, 0, self._context.wire)

    async def once(self) -> bytes:
        """Open it; the resource as it waits to be produced."""
        await self.open()
        return self._queued

    def interrupt(self, error: ApplianceError) -> None:
        """Without effect: it goes on."""

    async def close(self) -> None:
        """Without effect: it goes on."""

    def _require_room(self) -> None:
        most = self._context.limits.max_background
        if self._context.in_progress.background >= most:
            raise BackendBusy(
                f"{most} background responses are in progress here",
                backend="",
                retry_after_s=BUSY_RETRY_S,
            )

    async def _produce(self, stream: BoundedStream) -> None:
        """From its first token to its row."""
        try:
            if self._told is not None:  # before this began; after its first step it counts
                asyncio.get_running_loop().call_soon(self.stop, self._told)
            async for _ in stream.frames():
                pass  # `_write` has handed them to whoever reads
        finally:
            await stream.close()

    def _overflow(self) -> None:
        raise self._too_large()

    def _too_large(self) -> RequestTooLarge:
        most = self._context.limits.max_bytes
        return RequestTooLarge(f"The response is larger than [responses] max_bytes ({most}).")

    def stop(self, error: ApplianceError) -> None:
        """See Producer.  What ends already, ends."""
        if self._ended:
            return
        self._told = error
        assert self._stream is not None
        self._stream.interrupt(error, recorded=not isinstance(error, Cancelled))

    def forget(self, why: str = "") -> None:
        """See Producer."""
        super().forget(why)
        self.stop(Cancelled("it was deleted"))


def require_storing(asked: ResponseRequest, limits: ResponseLimits) -> None:
    """A background response has no client who waits for it: raises where it cannot be stored."""
    if not asked.store:
        raise InvalidRequest("`background` needs `store`: true.", param="background")
    if limits.unstored == DEGRADED:
        raise PartUnavailable(
            "A background response must be stored, and no PostgreSQL is configured.",
            part="postgres",
        )
    if limits.unstored:
        raise InvalidRequest(
            f"This gateway stores no responses ({limits.unstored}), and a background response must "
            "be stored.",
            param="background",
        )


def require_background(background: bool) -> None:
    """Raises InvalidRequest for a response that is none: nobody but its client ends it."""
    if not background:
        raise InvalidRequest(
            "Only a response created with `background`: true can be cancelled; another ends when "
            "its client hangs up.",
            code="response_not_background",
        )
