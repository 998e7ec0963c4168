"""What a round trip and a paced SSE chunk cost the client, in its own process, on uvloop.

    python tests/bench/http_client.py http://127.0.0.1:9100/v1

The server is any OpenAI-compatible one that answers at once, and streams 64 chunks 5 ms apart for
the model `mock-paced`.  Prints one line per figure: name median p99 n machine.  CPU figures are of
this process, user and system, per operation; each is one round, so p99 is over rounds.  The
`_floor` beside each SSE figure is a protocol that drops what it gets: event loop and socket alone.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import uvloop

from appliance.infra.http.client import HttpClient, Target
from appliance.infra.http.request import encode
from appliance.infra.http.sse import SseDecoder

HEADERS = {"content-type": "application/json", "authorization": "Bearer bench"}


def body_of(model: str, stream: bool) -> bytes:
    message = {"role": "user", "content": "x" * 880}
    return json.dumps({"model": model, "stream": stream, "messages": [message]}).encode()


def line(name: str, values_us: list[float], n: int) -> None:
    ordered = sorted(values_us)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    machine = f"{platform.machine()}x{os.cpu_count()}"
    print(f"{name} {statistics.median(ordered):.2f}us {p99:.2f}us n={n} {machine}", flush=True)


async def post(client: HttpClient, target: Target, body: bytes) -> None:
    response = await client.send("POST", target, HEADERS, body, timeout_s=10)
    await response.read(1 << 20, 10)


async def stream(client: HttpClient, target: Target, body: bytes) -> int:
    response = await client.send("POST", target, HEADERS, body, timeout_s=10)
    decoder = SseDecoder()
    count = 0
    async for piece in response.chunks(10):
        count += len(decoder.feed(piece))
    return count


class Drop(asyncio.Protocol):
    """Sends the paced request, counts the reads until the last chunk."""

    def __init__(self, request: bytes) -> None:
        self.request, self.reads = request, 0
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        if data.endswith(b"0\r\n\r\n"):
            self.transport.abort()
            self.done.set_result(self.reads)


async def drop(target: Target, body: bytes) -> int:
    request = encode("POST", target, HEADERS, len(body)) + body
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: Drop(request), target.origin.host, target.origin.port
    )
    return await protocol.done


async def cpu_rounds(rounds: int, work: Callable[[], Awaitable[int]]) -> tuple[list[float], int]:
    """CPU microseconds per operation of each round, and the operations in all."""
    costs, total = [], 0
    for _ in range(rounds):
        begun = time.process_time_ns()
        done = await work()
        costs.append((time.process_time_ns() - begun) / 1e3 / done)
        total += done
    return costs, total


async def main(base_url: str, rounds: int) -> None:
    client = HttpClient()
    target = Target.parse(base_url).at("/chat/completions")
    once, paced = body_of("mock-burst", False), body_of("mock-paced", True)

    async def sequential() -> int:
        for _ in range(2000):
            await post(client, target, once)
        return 2000

    async def concurrent() -> int:
        async def worker() -> None:
            for _ in range(200):
                await post(client, target, once)

        await asyncio.gather(*(worker() for _ in range(16)))
        return 3200

    async def streams(width: int) -> int:
        return sum(await asyncio.gather(*(stream(client, target, paced) for _ in range(width))))

    async def floor(width: int) -> int:
        return sum(await asyncio.gather(*(drop(target, paced) for _ in range(width))))

    await sequential()
    line("post_1k_cpu", *await cpu_rounds(rounds, sequential))
    line("post_1k_16_conns_cpu", *await cpu_rounds(rounds, concurrent))
    latencies = []
    for _ in range(5000):
        begun = time.perf_counter_ns()
        await post(client, target, once)
        latencies.append((time.perf_counter_ns() - begun) / 1e3)
    line("post_1k_wall", latencies, len(latencies))
    for width in (1, 16, 64):
        name = f"sse_paced_{width}_streams_cpu_per_chunk"
        line(name, *await cpu_rounds(rounds, partial(streams, width)))
        line(f"{name}_floor", *await cpu_rounds(rounds, partial(floor, width)))
    await client.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    uvloop.run(main(options.base_url, options.rounds))
