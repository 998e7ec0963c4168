"""Cancel a request the moment its client hangs up.

Falcon under Granian runs a stream to its end after a hang-up.  This reads `receive()` beside the
app, once the app has the whole body, and cancels the request's task on `http.disconnect`; whatever
it awaits (the upstream's first byte, a slot in a queue, the next chunk) ends at once.
"""

import asyncio
from typing import Any

from appliance.transport.middleware import ASGIApp, Receive, Scope, Send


class DisconnectMiddleware:
    """Only POST waits on a backend; everything else is over before a watch would be set up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._watches: set[_Watch] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        watch = _Watch(receive)
        self._watches.add(watch)
        try:
            await self._app(scope, watch.receive, send)
        except asyncio.CancelledError:
            if not watch.ended:
                raise
            # Ours: the client is gone, the request has been cleaned up, nobody is left to tell.
            watch.task.uncancel()
        finally:
            self._watches.discard(watch)
            watch.stop()

    async def drain(self, within_s: float) -> None:
        """Let open requests finish for `within_s`, then end those that are left."""
        open_tasks = {watch.task for watch in self._watches}
        if open_tasks:
            await asyncio.wait(open_tasks, timeout=within_s)
        for watch in list(self._watches):
            watch.end()


class _Watch:
    """Hands the body on, then waits for the hang-up in a task of its own."""

    def __init__(self, receive: Receive) -> None:
        current = asyncio.current_task()
        assert current is not None
        self.task = current
        self.ended = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            # Owned: stop() cancels it in the middleware's finally.
            self._watcher = asyncio.get_running_loop().create_task(self._wait())
        return message

    def end(self) -> None:
        """Cancel the request."""
        self.ended = True
        self.task.cancel()

    def stop(self) -> None:
        """Nothing is left to watch."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end()
