"""One socket to one NATS server, for publishing: lines out, answers in, alive or lost.

Made by `publisher.Publisher`.  Nothing here waits but the handshake: `write` gathers, `flush` hands
all of it to the socket at once, and a server that stops reading turns `writable` off.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, cast

from appliance.infra.nats.publisher.servers import Server
from appliance.infra.nats.publisher.wire import (
    PING,
    PONG,
    Info,
    Parser,
    ProtocolError,
    connect_line,
    subscribe_line,
)

CONNECT_TIMEOUT_S: Final = 2.0
PING_INTERVAL_S: Final = 2.0
MOST_UNANSWERED: Final = 2
HIGH_WATER_BYTES: Final = 1024 * 1024
INBOX_ID: Final = 1
TlsContext = Callable[[], Awaitable[ssl.SSLContext]]


class LinkError(Exception):
    """A server cannot be used; `str()` says why."""


class Listener(Protocol):
    """Who publishes over links.  Called from the loop, one after the other; must not block."""

    def on_answer(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        """Something was sent to the inbox."""

    def on_read(self) -> None:
        """All answers of one read were told."""

    def on_writable(self) -> None:
        """A link that was not writable is."""

    def on_error(self, text: str) -> None:
        """The server refused something."""

    def on_lost(self, reason: str) -> None:
        """The link that was opened last is gone."""


class Link(asyncio.Protocol):
    """`alive` until it is lost, `writable` while the server keeps up; `info` is its newest word."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self.alive = False
        self.writable = True
        self.info = Info()
        self._loop = loop
        self._listener = listener
        self._parser = Parser(self)
        self._transport: asyncio.Transport | None = None
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._ponged: asyncio.Future[None] = loop.create_future()
        self._pieces: list[bytes] = []
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reason = ""

    # -- what the publisher calls

    async def greet(self, server: Server, name: str, inbox: str, tls: TlsContext) -> None:
        """Shake hands and subscribe `inbox`.  Raises LinkError, ssl.SSLError, OSError."""
        await self._greeted
        if server.tls or self.info.tls_required:
            await self._encrypt(await tls(), server.tls_name or server.host)
        if not self.info.headers:
            raise LinkError("the server is too old: it knows no headers")
        hello = connect_line({"name": name, **server.login})
        self._send(hello + subscribe_line(f"{inbox}*", INBOX_ID) + PING)
        await self._ponged
        self.alive = True
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._tick)

    def write(self, head: bytes, payload: bytes) -> None:
        """Gather one message; it leaves with the next `flush`."""
        self._pieces += (head, payload, b"\r\n")

    def flush(self) -> None:
        """Hand what was gathered to the socket, in one piece."""
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._send(data)

    def abort(self, reason: str = "") -> None:
        """Close the socket now, whatever is under way.  Without a reason it is not told: whoever
        closes knows."""
        self._reason = self._reason or reason
        self.alive = self.alive and bool(reason)
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._take(transport)

    def data_received(self, data: bytes) -> None:
        self._unanswered = 0
        try:
            self._parser.feed(data)
        except ProtocolError as exc:
            self.abort(f"not a NATS server: {exc}")
            return
        if self.alive:
            self._listener.on_read()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._listener.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._reason or (str(exc) if exc else "") or "the server closed the connection"
        was_alive, self.alive, self.writable = self.alive, False, False
        self._transport = None
        self._pieces.clear()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (self._greeted, self._ponged):
            if not waiter.done():
                waiter.set_exception(LinkError(reason))
                waiter.exception()  # whoever waits gets it; nobody need
        if was_alive:
            self._listener.on_lost(reason)

    # -- wire.Handler

    def on_info(self, info: Info) -> None:
        self.info = info
        if not self._greeted.done():
            self._greeted.set_result(None)

    def on_message(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        self._listener.on_answer(subject, headers, payload)

    def on_ping(self) -> None:
        self._send(PONG)

    def on_pong(self) -> None:
        if not self._ponged.done():
            self._ponged.set_result(None)

    def on_error(self, text: str) -> None:
        if self.alive:
            self._listener.on_error(text)
        else:
            self._reason = text

    # -- the inside

    async def _encrypt(self, context: ssl.SSLContext, name: str) -> None:
        assert self._transport is not None
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=name)
        if transport is None:
            raise LinkError("the connection was lost during the TLS handshake")
        self._take(transport)

    def _take(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def _tick(self) -> None:
        """A server that is there answers; one that is frozen has its connections all the same."""
        if self._unanswered >= MOST_UNANSWERED:
            self.abort("the server does not answer")
            return
        self._unanswered += 1
        self._send(PING)
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._tick)


async def open_link(
    server: Server, name: str, inbox: str, listener: Listener, tls: TlsContext
) -> Link:
    """A link to `server` that is alive, within CONNECT_TIMEOUT_S.

    Raises LinkError, OSError (ssl.SSLError is one), TimeoutError.
    """
    loop = asyncio.get_running_loop()
    link = Link(loop, listener)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: link, server.host, server.port)
            await link.greet(server, name, inbox, tls)
    except BaseException:
        with suppress(Exception):
            link.abort()
        raise
    return link
