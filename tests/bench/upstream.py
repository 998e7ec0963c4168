"""The backend of a benchmark: OpenAI's wire, answered at once, or streamed 5 ms a chunk."""

import asyncio
import json
import os
import time
from typing import cast

import uvloop

CHUNKS = 64
PACE_S = 0.005
TEXT = "The committee met on Tuesday to discuss the proposed changes. " * 15

ONCE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT[:400]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 64, "total_tokens": 264},
    }
).encode()


class Upstream(asyncio.Protocol):
    """Answers every POST on one connection, one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self.seen = b""
        self.tasks: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, blank, body = self.seen.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if not blank or (head.startswith(b"POST") and len(body) < length):
            return
        self.seen = b""
        if b'"stream":true' in body:
            task = asyncio.ensure_future(self.stream())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            answer = ONCE if head.startswith(b"POST") else b'{"data":[{"id":"bench"}]}'
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
            )

    async def stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        begun = time.monotonic()
        for n in range(CHUNKS):
            finish = '"stop"' if n == CHUNKS - 1 else "null"
            event = (
                '{"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":'
                f'[{{"index":0,"delta":{{"content":"word {n} "}},"finish_reason":{finish}}}]}}'
            )
            self.write_chunk(f"data: {event}\n\n".encode())
            await asyncio.sleep(max(0.0, begun + (n + 1) * PACE_S - time.monotonic()))
        self.write_chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def write_chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def pin(core: int) -> None:
    """This process to one core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def serve_upstream(port: int) -> None:
    """The backend's process."""
    pin(1)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(run())
