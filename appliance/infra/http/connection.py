"""One socket: bytes to callbacks to a buffer one reader waits on.  One exchange at a time.

Made by `pool.Pool`, driven by `client.HttpClient` and `response.Response`.  Built for the cost of a
chunk: a list and one waiter future, no queue, no task, and one timer per connection that is moved
only when it fires (a `wait_for` per chunk costs more than parsing it).
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools

from .errors import ClosedEarly, Cut, HttpError, Malformed, ReadTimeout
from .target import Origin

HIGH_WATER_BYTES: Final = 256 * 1024
# Headers, interim responses, and whatever else of a response is not body (chunk lines, trailers).
MAX_HEAD_BYTES: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """A client connection.  `on_lost` is called once, when the socket is gone.

    After `start` the parsed response is in `status`, `raw_headers`, and what `take` returns.
    """

    __slots__ = (
        "_deadline", "_head_bytes", "_head_done", "_keep_alive", "_loop", "_on_lost",
        "_overhead_bytes", "_parser", "_paused", "_pieces", "_seen_bytes", "_spare", "_timer",
        "_timer_at", "_transport", "_unread_bytes", "_until_close", "_waiter", "complete", "error",
        "idle_since", "origin", "raw_headers", "status",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self._loop = loop
        self.origin = origin
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self.idle_since = 0.0
        self._reset()
        self.complete = True  # between exchanges: nothing is due

    def _reset(self) -> None:
        self.status = 0
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.complete = False  # the whole response has arrived, read or not
        self.error: HttpError | None = None
        self._head_done = False
        self._keep_alive = False
        self._until_close = False
        self._seen_bytes = False
        self._spare = False  # bytes came after the response, or before a request
        self._paused = False
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._head_bytes = 0
        self._overhead_bytes = 0

    # -- what the client calls

    async def start(self, head: bytes, body: bytes, timeout_s: float) -> None:
        """Send a request and wait for the response's headers."""
        transport = self._transport
        if transport is None or not self.usable:
            raise ClosedEarly("the server closed the connection")
        self._reset()
        if len(body) > HIGH_WATER_BYTES:  # not worth a copy
            transport.write(head)
            transport.write(body)
        else:
            transport.write(head + body if body else head)
        while not self._head_done and self.error is None:
            await self._wait(timeout_s)
        if self.error is not None and not self._head_done:
            raise self.error

    async def take(self, timeout_s: float) -> bytes:
        """The body as far as it has arrived, waiting for some; empty when the response is over."""
        while not self._pieces:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            try:  # as _wait, without a coroutine of its own: this is what a chunk costs
                await self._expect(timeout_s)
            except BaseException:
                self.abort()
                raise
            finally:
                self._waiter = None
        pieces = self._pieces
        self._pieces = []
        self._unread_bytes = 0
        if self._paused:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: all of this response came, and nothing else did."""
        transport = self._transport
        return (
            self.complete
            and self._keep_alive
            and not self._spare
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()  # answered before it read the whole request
        )

    @property
    def usable(self) -> bool:
        """Whether a connection that idled is still worth trying."""
        transport = self._transport
        return not self._spare and transport is not None and not transport.is_closing()

    def abort(self) -> None:
        """Close the socket now; the server sees the hang-up at once."""
        if not self.complete and self.error is None:
            self.error = Cut("we closed the connection")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # -- waiting

    async def _wait(self, timeout_s: float) -> None:
        """Until something came, went wrong, or `timeout_s` passed; a cancelled wait hangs up."""
        try:
            await self._expect(timeout_s)
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _expect(self, timeout_s: float) -> "asyncio.Future[None]":
        """Done when something came or went wrong, or `timeout_s` passed."""
        self._deadline = deadline = self._loop.time() + timeout_s
        if self._timer is None or self._timer_at > deadline:
            self._arm(deadline)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        # At least a millisecond: loop.time() may lag behind the timer that just fired.
        self._timer = self._loop.call_later(max(0.001, at - self._loop.time()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
            return
        self._fail(ReadTimeout("the server sent nothing within the limit"))

    def _fail(self, error: HttpError) -> None:
        if self.error is None:
            self.error = error
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        if self.complete:  # nobody asked: whatever it is, it must not answer the next request
            self._spare = True
            self.abort()
            return
        self._seen_bytes = True
        unread_bytes = self._unread_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._spare = True
            if not self.complete:  # else it is what follows the response that is wrong
                self._fail(Malformed(f"the response is not HTTP/1.1: {exc}"))
                return
        if self._unread_bytes == unread_bytes and not self.complete:
            self._overhead_bytes += len(data)
            if self._overhead_bytes > MAX_HEAD_BYTES:
                self._fail(Malformed(f"more than {MAX_HEAD_BYTES} bytes of headers"))
                return
        else:
            self._overhead_bytes = 0
        if self._unread_bytes > HIGH_WATER_BYTES and not self._paused and not self.complete:
            self._paused = True
            assert self._transport is not None
            self._transport.pause_reading()
        if self._head_done:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._until_close and exc is None and self.error is None:
            self.complete = True
        if not self.complete and self.error is None:
            if self._seen_bytes:
                self.error = Cut("the server closed the connection within its response")
            else:
                self.error = ClosedEarly("the server closed the connection without a response")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        self._on_lost(self)

    # -- httptools

    def on_message_begin(self) -> None:
        if self.complete:
            self._spare = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # trailers are dropped
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ValueError("headers too large")
            self.raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._spare:
            return
        parser = self._parser
        self.status = parser.get_status_code()
        if self.status < 200:
            self.raw_headers = []
            return
        self._head_done = True
        self._keep_alive = parser.should_keep_alive()
        if not self._keep_alive:
            self._until_close = self._delimited_by_close()

    def _delimited_by_close(self) -> bool:
        if self.status in (204, 304):
            return False
        fields = {name.lower(): value.lower() for name, value in self.raw_headers}
        if b"transfer-encoding" in fields:
            return not fields[b"transfer-encoding"].rstrip().endswith(b"chunked")
        return b"content-length" not in fields

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._pieces.append(data)
            self._unread_bytes += len(data)

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self.complete = True
