"""The load of a benchmark: one question, in the words of each surface, asked over many connections
at once."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop

from tests.bench.upstream import TEXT

MESSAGES = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 256}
RESPONSE = {"input": TEXT, "max_output_tokens": 256}
_WEBSOCKET_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True, slots=True)
class Load:
    """A question: `path`, `model`, and the other `fields` of its body.  `socket`: over a WebSocket,
    all of a connection's questions on one."""

    path: str
    model: str = "bench"
    fields: Mapping[str, Any] = field(default_factory=lambda: MESSAGES)
    socket: bool = False

    def body(self, **more: Any) -> bytes:
        """As JSON without blanks."""
        asked = {"model": self.model, **self.fields, **more}
        return json.dumps(asked, separators=(",", ":")).encode()

    def request(self, *, stream: bool) -> bytes:
        """The whole of it, over HTTP."""
        body = self.body(stream=stream)
        return (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self.path.encode(), len(body), body)
        )


LOADS = {
    "chat": Load("/v1/chat/completions"),
    "messages": Load("/v1/messages"),
    "responses": Load("/v1/responses", fields={**RESPONSE, "store": False}),
    "stored_responses": Load("/v1/responses", fields={**RESPONSE, "store": True}),
    "ollama": Load("/api/chat"),
    "raw": Load("/v1/chat/completions", model="raw"),
}
SOCKETS = {"websocket": Load("/v1/responses", fields={**RESPONSE, "store": False}, socket=True)}


async def _over_http(port: int, payload: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(payload)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"x-store:" not in head.lower(), head  # what was to be stored is not
        if b"content-length:" in head.lower():
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()


async def _over_a_socket(port: int, load: Load, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n"
        % (load.path.encode(), _WEBSOCKET_KEY)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    body = load.body(type="response.create")
    for _ in range(count):
        # A text frame, masked with zeros.
        writer.write(b"\x81\xfe" + len(body).to_bytes(2, "big") + bytes(4) + body)
        while b'"type":"response.completed"' not in await _frame(reader):
            pass
    writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    length = (await reader.readexactly(2))[1]
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    return await reader.readexactly(length)


def drive(port: int, load: Load, connections: int, each: int, *, stream: bool) -> None:
    """`connections` at once, `each` question after question on every one."""

    async def run() -> None:
        if load.socket:
            await asyncio.gather(*(_over_a_socket(port, load, each) for _ in range(connections)))
        else:
            payload = load.request(stream=stream)
            await asyncio.gather(*(_over_http(port, payload, each) for _ in range(connections)))

    uvloop.run(run())
