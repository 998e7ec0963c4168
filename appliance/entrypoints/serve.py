"""Serve an ASGI app with Granian inside this process, so that one pid is the one to kill.

A second Granian would bind a taken port silently (SO_REUSEPORT): the port is probed first.
"""

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from appliance.domain.errors import ConfigError
from appliance.entrypoints.lifespan import beside

ASGIApp = Callable[..., Awaitable[None]]
GC_THRESHOLD = 10_000
Drain = Callable[[], Awaitable[None]]
_log = logging.getLogger("appliance.serve")
_LISTEN_POLL_S = 0.02


def split_listen(listen: str) -> tuple[str, int]:
    """`HOST:PORT` (IPv6 in brackets) as host and port; ConfigError otherwise."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"listen address {listen!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def require_free(listen: str, setting: str = "--listen") -> None:
    """Raise ConfigError when `listen`, which came from `setting`, cannot be bound, with the reason
    and what to do."""
    host, port = split_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"port {port} on {host} is in use by another program: stop it, or choose "
                    f"another address with {setting} {host}:PORT"
                ) from None
            raise ConfigError(f"cannot listen on {listen}: {exc.strerror}") from None


def serve(
    app: ASGIApp,
    listen: str,
    lifespan: AbstractAsyncContextManager[Any],
    *,
    max_connections: int = 1024,
    drain: Drain | None = None,
    sockets_over: Drain | None = None,
) -> None:
    """Run until SIGINT or SIGTERM.  `lifespan` opens before the first request and closes after
    the last;
    `drain` ends open streams before Granian waits for them.  `sockets_over`, given where
    WebSockets are served, returns when none is open."""
    require_free(listen)
    uvloop.run(_serve(app, listen, lifespan, max_connections, drain, sockets_over))


async def _serve(
    app: ASGIApp,
    listen: str,
    lifespan: AbstractAsyncContextManager[Any],
    max_connections: int,
    drain: Drain | None,
    sockets_over: Drain | None,
) -> None:
    host, port = split_listen(listen)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=sockets_over is not None,  # else an upgrade is answered as the GET it is
        backlog=max(1024, max_connections),
        backpressure=max_connections,
        log_enabled=False,
    )
    server.workers_kill_timeout = None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with lifespan, beside(announce(listen)):
        # What is alive now lives as long as the process: the collector need not walk it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        running = asyncio.ensure_future(server.serve())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _shut_down(server, running, drain, sockets_over)
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def announce(listen: str) -> None:
    """Log `listening` once `listen` takes connections; Granian tells nobody when it does."""
    host, port = split_listen(listen)
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_LISTEN_POLL_S)
            continue
        writer.close()
        _log.info("listening", extra={"address": listen})
        return


async def _shut_down(
    server: Server,
    running: "asyncio.Future[None]",
    drain: Drain | None,
    sockets_over: Drain | None,
) -> None:
    draining = asyncio.ensure_future(drain()) if drain is not None else None
    if draining is not None and sockets_over is not None:
        # Granian cuts every WebSocket the moment it is told to stop.
        over = asyncio.ensure_future(sockets_over())
        await asyncio.wait({draining, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
    server.stop()  # type: ignore[no-untyped-call]
    if draining is not None:
        await draining
    await asyncio.wait({running}, timeout=5.0)
    if not running.done():
        running.cancel()
