"""Cancel a request the moment its client hangs up.

Falcon under Granian runs a stream to its end after a hang-up.  This reads `receive()` beside the
app, once the body has been read, and cancels the request's task on `http.disconnect`; whatever
it awaits (the upstream's first byte, a slot in a queue, the next chunk) ends at once.
"""

import asyncio
from contextlib import suppress
from functools import partial

from appliance.domain.errors import PartUnavailable
from appliance.transport.context import RequestContext, context_of
from appliance.transport.handshake import is_socket
from appliance.transport.middleware import ASGIApp, Receive, Scope, Send

# An answer that is out within this time needs no watch, which costs more than decoding it did: one
# begins when its request is between this and twice this old.
GRACE_S = 0.02
LAST_WORDS_S = 0.5


class DisconnectMiddleware:
    """Only POST, a WebSocket and a GET of a stream wait for something; everything else is over
    before a watch would be set up.  A WebSocket reads for itself, and so learns of a hang-up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._watches: set[_Watch] = set()
        self._young: list[_Watch] = []  # their bodies have been read since the last tick
        self._older: list[_Watch] = []  # and these between the last two
        self._ticking = False
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" and not is_socket(scope) and not _is_streamed(scope):
            await self._app(scope, receive, send)
            return
        if self._stopping:
            raise PartUnavailable("The gateway is stopping.", part="gateway")
        context = context_of(scope)
        watch = _Watch(receive, context, of_socket=is_socket(scope))
        context.on_body_read = partial(self._body_read, watch)
        self._watches.add(watch)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # One that was taken back is of a limit that ran out in a send (BoundedStream.stuck).
            if watch.task.cancelling() and not watch.ended:
                raise
            watch.task.uncancel()  # ours; the request has been cleaned up
            if watch.client_left or context.status:
                return  # nobody is left to tell, or no way: the stream is cut
            raise PartUnavailable("The gateway is stopping.", part="gateway") from None
        finally:
            self._watches.discard(watch)
            watch.stop()
            # Falcon closes a stream only once its headers are out; a hang-up may come before.
            if (cleanup := context.cleanup) is not None:
                await cleanup()
            context.over()

    def _body_read(self, watch: "_Watch") -> None:
        """From here `receive()` is the watch's alone.  One timer serves all who are young."""
        self._young.append(watch)
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(GRACE_S, self._tick)

    def _tick(self) -> None:
        due, self._older, self._young = self._older, self._young, []
        for watch in due:
            if watch in self._watches:
                watch.start()
        self._ticking = bool(self._older)
        if self._ticking:
            asyncio.get_running_loop().call_later(GRACE_S, self._tick)

    async def drain(self, within_s: float) -> None:
        """Let open requests finish for `within_s`, then end those that are left: an answer on its
        way with an error in band, where its client still takes something.  New ones are refused."""
        self._stopping = True
        for watch in self._watches:
            watch.take_no_more()
        open_tasks = {watch.task for watch in self._watches}
        if open_tasks:
            await asyncio.wait(open_tasks, timeout=within_s)
        told = {watch.task for watch in self._watches if watch.interrupt()}
        if told:
            await asyncio.wait(told, timeout=LAST_WORDS_S)
        for watch in list(self._watches):
            watch.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * LAST_WORDS_S):
                await self.sockets_over()

    async def sockets_over(self) -> None:
        """Return when no WebSocket is open."""
        while sockets := {watch.task for watch in self._watches if watch.of_socket}:
            await asyncio.wait(sockets)


def _is_streamed(scope: Scope) -> bool:
    return b"stream=" in scope["query_string"]


class _Watch:
    """Waits for the hang-up of one request, in a task of its own."""

    def __init__(
        self, receive: Receive, context: RequestContext, *, of_socket: bool = False
    ) -> None:
        current = asyncio.current_task()
        assert current is not None
        self.task = current
        self.of_socket = of_socket
        self.ended = False
        self.client_left = False
        self._receive = receive
        self._context = context
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on."""
        # Owned: stop() cancels it in the middleware's finally.
        self._watcher = asyncio.get_running_loop().create_task(self._wait())

    def take_no_more(self) -> None:
        """Have a connection end with the answer that is on its way, or now."""
        self._context.on_drain()

    def interrupt(self) -> bool:
        """Have an answer that is on its way end with an error in band; False where there is
        none."""
        if self._context.interrupt is None or not self._context.status:
            return False
        self._context.interrupt(PartUnavailable("The gateway is stopping.", part="gateway"))
        return True

    def end(self) -> None:
        """Cancel the request."""
        self.ended = True
        self.task.cancel()

    def stop(self) -> None:
        """Nothing is left to watch."""
        # A cancelled task keeps its last frame, and that keeps us: not the other way round too.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self.end()
