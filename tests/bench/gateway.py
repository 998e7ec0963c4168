"""What the gateway costs: CPU per request and per streamed chunk, start-up, memory; and `up`.

    scripts/bench                 (python tests/bench/gateway.py)

A gateway in its own process, all default middleware on, its spool shipping to a real NATS server; a
backend of OpenAI's wire that answers at once, or streams 64 chunks 5 ms apart, asked through chat
completions, through Messages, through Ollama's wire, and through chat completions with nothing to
parse; load and backend share the other core.  Prints one line per figure: name median p99 n
machine.  CPU is user and system of the gateway's process; each figure is one round, so p99 is over
rounds.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from tests.fakes.appliance import Appliance
from tests.fakes.gateway import GatewayProcess, backend_config, free_port
from tests.fixtures_nats import NatsServer

ROUNDS = 7
REQUESTS = 3000
CONNECTIONS = 32
STREAMS = 32
CHUNKS = 64
CHAT, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/messages", "/api/chat"
PATHS = {
    "chat": (CHAT, "bench"),
    "messages": (MESSAGES, "bench"),
    "ollama": (OLLAMA, "bench"),
    "raw": (CHAT, "raw"),
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
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
            await asyncio.sleep(max(0.0, begun + (n + 1) * 0.005 - time.monotonic()))
        self.write_chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def write_chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def serve_upstream(port: int) -> None:
    """The backend's process."""
    pin(1)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(run())


async def converse(port: int, payload: bytes, count: int) -> None:
    """`count` requests on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(payload)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        if b"content-length:" in head.lower():
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()


def payload_of(stream: bool, path: str = CHAT, model: str = "bench") -> bytes:
    messages = [{"role": "user", "content": TEXT}]
    asked = {"model": model, "messages": messages, "stream": stream, "max_tokens": 256}
    body = json.dumps(asked, separators=(",", ":")).encode()
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), len(body), body)
    )


def pin(core: int) -> None:
    """This process to one core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def line(name: str, unit: str, values: list[float], n: int) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    machine = f"{platform.machine()}x{os.cpu_count()}"
    print(
        f"{name} {statistics.median(ordered):.2f}{unit} {p99:.2f}{unit} n={n} {machine}", flush=True
    )


def rounds(
    pid: int, operations: int, loads: Mapping[str, Callable[[], None]]
) -> dict[str, list[float]]:
    """Microseconds of the gateway's CPU an operation, a figure a round for each load; the loads
    take turns, so that they share whatever else the machine does; the first round is warm-up."""
    figures: dict[str, list[float]] = {name: [] for name in loads}
    for _ in range(ROUNDS + 1):
        for name, load in loads.items():
            before = cpu_s(pid)
            load()
            time.sleep(0.3)  # what is still being shipped belongs to the round
            figures[name].append((cpu_s(pid) - before) / operations * 1e6)
    return {name: values[1:] for name, values in figures.items()}


def drive(port: int, payload: bytes, connections: int, each: int) -> None:
    async def run() -> None:
        await asyncio.gather(*(converse(port, payload, each) for _ in range(connections)))

    uvloop.run(run())


def measure(folder: Path, upstream: int, nats: NatsServer) -> None:
    token = folder / "token"
    token.write_text(nats.config.token)
    raw = '[[models]]\nmatch = "raw"\nbackend = "scripted"\nupstream_model = "bench"\nparsers = []'
    nats_table = f'[nats]\nurl = "{nats.config.url}"\ntoken = "file:{token}"'
    more = f"max_in_flight = 1024\n{raw}\n{nats_table}"
    config = backend_config(f"http://127.0.0.1:{upstream}/v1", more=more)
    begun = time.monotonic()
    with GatewayProcess(folder, config) as gateway:
        line("gateway_ready", "s", [time.monotonic() - begun], 1)
        assert gateway.process is not None
        pid = gateway.process.pid
        os.sched_setaffinity(pid, {0})
        line("gateway_memory_idle", "MiB", [pss_mib(pid)], 1)
        each = REQUESTS // CONNECTIONS
        once = {
            name: partial(drive, gateway.port, payload_of(False, path, model), CONNECTIONS, each)
            for name, (path, model) in PATHS.items()
        }
        for name, values in rounds(pid, each * CONNECTIONS, once).items():
            line(f"gateway_cpu_per_{name}_request", "us", values, REQUESTS)
        paced = {
            name: partial(drive, gateway.port, payload_of(True, path, model), STREAMS, 2)
            for name, (path, model) in PATHS.items()
        }
        chunks = STREAMS * 2 * CHUNKS
        for name, values in rounds(pid, chunks, paced).items():
            line(f"gateway_cpu_per_{name}_chunk", "us", values, chunks)
        line("gateway_memory_after", "MiB", [pss_mib(pid)], 1)


def measure_up(folder: Path) -> None:
    """`appliance up` on a fresh state folder, and again on the same one."""
    folder.mkdir()
    appliance = Appliance(folder)
    seconds = []
    for _ in range(4):
        seconds.append(appliance.start())
        appliance.stop()
    line("up_ready_cold", "s", seconds[:1], 1)
    line("up_ready_warm", "s", seconds[1:], 3)


def main() -> None:
    """Every figure, one line each."""
    upstream = free_port()
    backend = multiprocessing.Process(target=serve_upstream, args=(upstream,), daemon=True)
    backend.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_up(folder / "up")
        nats = NatsServer(folder)
        nats.start()
        pin(1)
        try:
            measure(folder, upstream, nats)
        finally:
            nats.kill()
            backend.terminate()


if __name__ == "__main__":
    main()
