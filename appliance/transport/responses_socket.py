"""WebSocket mode of /v1/responses: one connection, its turns one after the other.  Step 2 of the
path for a turn, of which there are more in responses_turn.py.

Two tasks a connection: one reads all the time, so that a client that leaves ends its turn at once;
the other takes the turns.  What cannot be served becomes an error frame and leaves the connection
as it is.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import falcon.asgi
from falcon.errors import PayloadTypeError, WebSocketDisconnected

from appliance.domain.errors import InvalidRequest
from appliance.domain.identity import Identity
from appliance.domain.responses.memory import Memories
from appliance.domain.responses.service import ResponseService
from appliance.presentation.errors import CANCELLED_STATUS, ErrorView, view
from appliance.presentation.openai_responses.socket import error_frame
from appliance.presentation.surface import RESPONSES
from appliance.transport.context import RequestContext
from appliance.transport.inbox import Inbox
from appliance.transport.middleware import AccessWriter
from appliance.transport.responses_turn import ClientStuck, TurnRunner, too_large

MAX_WAITING = 16  # frames beside the turn that runs
LAST_WORDS_S = 2.0  # for a client that takes nothing any more
NORMAL, FAILED, RESTARTING = 1000, 1011, 1012  # close codes, of IANA's registry
MAX_REASON_BYTES = 123  # of a close frame: RFC 6455, 5.5
MEMORY_BYTES = 256 * 1024 * 1024  # of all connections: an agent's conversation is a megabyte or two
(PATH,) = RESPONSES.routes
_NOT_TEXT = InvalidRequest("Send text frames: a binary one is not read.", code="invalid_frame")
_TOO_MANY = ErrorView(
    429,
    f"Too much waits for the turn that runs (at most {MAX_WAITING} frames, together no larger "
    "than one may be): this frame is dropped.",
    "rate_limit_error",
    "too_many_waiting",
    should_retry=True,
)


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """`max_frame_bytes` of one frame, and of all that wait; a connection without a request for
    `idle_s` is closed."""

    max_frame_bytes: int
    idle_s: float


class ResponsesSocket:
    """One for the process: what all connections share."""

    def __init__(
        self,
        service: ResponseService,
        settings: SocketSettings,
        *,
        identify: Callable[[str | None, str | None], Identity],
        monotonic: Callable[[], float],
        access_log: AccessWriter,
    ) -> None:
        self._service = service
        self._settings = settings
        self._identify = identify
        self._monotonic = monotonic
        self._access_log = access_log
        self._memories = Memories(MEMORY_BYTES)

    async def serve(self, context: RequestContext, ws: falcon.asgi.WebSocket) -> None:
        """Until either side closes the connection."""
        await ws.accept()
        memory = self._memories.connection()
        runner = TurnRunner(self._service, memory, ws.send_text, self._settings.max_frame_bytes)
        connection = _Connection(self, context, ws, runner, self._settings)
        context.on_drain, context.interrupt = connection.stop, runner.interrupt
        try:
            await connection.run()
        finally:
            memory.close()
            await connection.close()

    def begin(self, connection: RequestContext) -> RequestContext:
        """A turn's own: its exchange has a trace id of its own, and the caller's correlation id."""
        identity = self._identify(connection.identity.correlation_id, None)
        return RequestContext(identity, connection.headers, self._monotonic(), connection.key)

    def end(self, turn: RequestContext) -> None:
        """One line a turn, as of any request."""
        line = {
            "correlation_id": turn.identity.correlation_id,
            "trace_id": turn.identity.trace_id,
            "method": "WEBSOCKET",
            "path": PATH,
            "status": turn.status or CANCELLED_STATUS,
            "duration_s": round(self._monotonic() - turn.started, 6),
            **turn.fields,
        }
        self._access_log(logging.INFO, line)


class _Connection:
    """`run` returns when it is over, for whatever reason; `close` says goodbye."""

    def __init__(
        self,
        shared: ResponsesSocket,
        context: RequestContext,
        ws: falcon.asgi.WebSocket,
        runner: TurnRunner,
        settings: SocketSettings,
    ) -> None:
        self._shared = shared
        self._context = context
        self._ws = ws
        self._runner = runner
        self._settings = settings
        self._inbox = Inbox(MAX_WAITING, settings.max_frame_bytes)
        self._farewell = (NORMAL, "")

    async def run(self) -> None:
        """Read, and take turns, until one of the two is over."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            taking = group.create_task(self._take_turns())
            reading.add_done_callback(lambda _: taking.cancel())
            taking.add_done_callback(lambda _: reading.cancel())

    def stop(self) -> None:
        """The gateway is stopping: end with the turn that runs, or now."""
        self._farewell = (RESTARTING, "The gateway is stopping.")
        self._inbox.close()

    async def close(self) -> None:
        """Without effect where the client has left."""
        with suppress(TimeoutError, WebSocketDisconnected):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._ws.close(*self._farewell)

    async def _read(self) -> None:
        with suppress(WebSocketDisconnected):
            while True:
                try:
                    frame = await self._ws.receive_text()
                except PayloadTypeError:
                    await self._refuse(view(_NOT_TEXT))
                    continue
                if len(frame) > self._settings.max_frame_bytes:
                    await self._refuse(view(too_large(self._settings.max_frame_bytes)))
                elif not self._inbox.offer(frame):
                    await self._refuse(_TOO_MANY)

    async def _refuse(self, error: ErrorView) -> None:
        await self._ws.send_text(error_frame(error))

    async def _take_turns(self) -> None:
        with suppress(WebSocketDisconnected):
            while (frame := await self._next()) is not None:
                turn = self._shared.begin(self._context)
                try:
                    await self._runner.run(frame, turn)
                except ClientStuck as exc:
                    if self._farewell[0] == NORMAL:
                        reason = str(exc).encode()[:MAX_REASON_BYTES].decode(errors="ignore")
                        self._farewell = (FAILED, reason)
                    return
                finally:
                    self._shared.end(turn)

    async def _next(self) -> str | None:
        idle_s = self._settings.idle_s
        try:
            async with asyncio.timeout(idle_s):
                return await self._inbox.take()
        except TimeoutError:
            self._farewell = (NORMAL, f"No request for {idle_s:g} s.")
            return None
