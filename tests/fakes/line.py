"""One connection of the scripted server: reads requests, does actions, sees the client leave."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import cast

from tests.fakes.actions import Action, Body, Cut, End, Gate, Head, Pause, Raw, Received, Reset


class Line(asyncio.Protocol):
    """One connection: what arrived and is unread, and whether the client is still there."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.carried = 0
        self.left = asyncio.Event()
        self.left_at = 0.0
        self.writable = asyncio.Event()
        self.writable.set()
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._more.set()

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.left.is_set():
            self.left_at = time.monotonic()
        self.left.set()
        self._more.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """RST instead of FIN."""
        if self._transport is not None:
            linger = struct.pack("ii", 1, 0)
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    async def request(self) -> Received | None:
        """The next request, whole (bodies with a Content-Length only); None: the client left."""
        head = await self._until(lambda: self._buffer.find(b"\r\n\r\n") + 4, 4)
        if head is None:
            return None
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        length = int(headers.get("content-length", 0))
        body = await self._until(lambda: length if len(self._buffer) >= length else -1, 0)
        if body is None:
            return None
        parsed = None
        with contextlib.suppress(ValueError):
            parsed = json.loads(body)
        now = time.monotonic()
        self.carried += 1
        return Received(
            method, path, headers, body, parsed, now, self.number, reused=self.carried - 1
        )

    async def _until(self, size: Callable[[], int], least: int) -> bytes | None:
        """Take `size()` bytes off the buffer once that is at least `least`."""
        while (found := size()) < least:
            if self.left.is_set():
                return None
            self._more.clear()
            await self._more.wait()
        taken = bytes(self._buffer[:found])
        del self._buffer[:found]
        return taken


async def perform(line: Line, received: Received, actions: Sequence[Action]) -> bool:
    """Do the actions unless the client leaves first; False when the connection is over."""
    work = asyncio.ensure_future(_act(line, actions))
    watch = asyncio.ensure_future(line.left.wait())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            received.finished_at = time.monotonic()
            return work.result()
        received.hung_up_at = line.left_at
        return False
    finally:
        work.cancel()
        watch.cancel()


async def _act(line: Line, actions: Sequence[Action]) -> bool:
    chunked = False
    for action in actions:
        match action:
            case Head():
                chunked = action.chunked
                line.write(_head(action))
            case Body(data):
                line.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked and data else data)
            case Raw(data):
                line.write(data)
            case End():
                line.write(b"0\r\n\r\n" if chunked else b"")
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Gate(opened):
                while not opened.is_set():
                    await asyncio.sleep(0.001)
            case Cut():
                return False
            case Reset():
                line.reset()
                return False
            case _:  # Stall
                await asyncio.Event().wait()
        await line.writable.wait()
    return True


def _head(head: Head) -> bytes:
    try:
        phrase = HTTPStatus(head.status).phrase
    except ValueError:
        phrase = "Scripted"
    fields = [*head.headers, *([("transfer-encoding", "chunked")] if head.chunked else [])]
    lines = [f"HTTP/1.1 {head.status} {phrase}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
