"""A streamed answer on its way to the client.  Step 9 of the path.

Headers are held for the first content, up to `hold_s`, so that an early failure is a real HTTP
error.  After that 200 is committed, comments keep the line alive, and failures go in band.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from appliance.domain.chat.bounded import BoundedStream
from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Turn
from appliance.domain.errors import ApplianceError
from appliance.domain.identity import Identity
from appliance.presentation.errors import view
from appliance.presentation.surface import Encoder

Send = Callable[[dict[str, Any]], Awaitable[None]]
COMMENT = b": keep-alive\n\n"
_log = logging.getLogger("appliance.gateway")


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """`hold_s`: how long the headers wait for content; `keepalive_s`: the longest silence on the
    line."""

    hold_s: float
    keepalive_s: float


class AnswerStream:
    """`open` waits for the first content; iterating yields frames; `close` aborts what is still
    running."""

    def __init__(
        self,
        service: ChatService,
        turn: Turn,
        encoder: Encoder,
        timing: StreamTiming,
        on_end: Callable[[], None],
    ) -> None:
        self._turn = turn
        self._encoder = encoder
        self._timing = timing
        self._on_end = on_end
        self._stream = BoundedStream(
            service, turn, write=encoder.delta, end=self._ended, failed=self._failed
        )

    async def open(self) -> None:
        """Return once there is content, or `hold_s` has passed.  Raises the error tree."""
        try:
            await self._stream.open(self._timing.hold_s)
        except BaseException:
            self._on_end()
            raise

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.frames()

    def interrupt(self, error: ApplianceError) -> None:
        """End the answer now, with `error` in band; without effect before its first frame and
        after its last."""
        self._stream.interrupt(error)

    async def close(self) -> None:
        """Abort the upstream request, wherever it is; without effect once all is over."""
        await self._stream.close()
        self._on_end()

    async def _ended(self) -> bytes:
        return self._encoder.end(sources_of(self._turn))

    async def _failed(self, error: Exception) -> bytes:
        log_failure(error, self._turn.caller.identity)
        return self._encoder.error(view(error))


def log_failure(error: Exception, identity: Identity) -> None:
    """The line of an answer that failed after its headers; with the trace where nobody expected
    it."""
    ids = {"correlation_id": identity.correlation_id, "trace_id": identity.trace_id}
    if isinstance(error, ApplianceError):
        said = {**ids, "error": str(error), "kind": type(error).__name__}
        _log.warning("stream_failed", extra=said)
    else:
        _log.error("unexpected_error", exc_info=error, extra=ids)


def sources_of(turn: Turn) -> Any:
    """What the body names as sources: nothing where knowledge came by configuration."""
    if turn.retrieval is None or turn.transparent:
        return None
    return turn.retrieval.hits


class KeepAlive:
    """Sends a comment, or the surface's own `filler`, whenever the line of a stream has been silent
    for `silence_s`.

    Frames are sent whole, so a comment between two sends never lands inside one.
    """

    def __init__(
        self,
        send: Send,
        last_send: Callable[[], float],
        silence_s: float,
        filler: bytes = COMMENT,
    ) -> None:
        self._send = send
        self._filler = filler
        self._last_send = last_send
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(silence_s, self._tick)

    def stop(self) -> None:
        """No comment after this."""
        self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _tick(self) -> None:
        rest_s = self._silence_s - (self._loop.time() - self._last_send())
        if rest_s <= 0:
            rest_s = self._silence_s
            # A client that takes nothing has one comment waiting, not one for every tick.
            if self._sending is None or self._sending.done():
                self._sending = self._loop.create_task(self._comment())  # stop() cancels it
        self._timer = self._loop.call_later(rest_s, self._tick)

    async def _comment(self) -> None:
        # Whether the client is gone is the business of the request's own sends.
        with suppress(OSError, RuntimeError):
            await self._send(
                {"type": "http.response.body", "body": self._filler, "more_body": True}
            )
