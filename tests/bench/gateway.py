"""What the gateway costs: CPU per request and per streamed chunk, start-up, memory; and `up`.

    scripts/bench                 (python -m tests.bench.gateway)

A gateway in its own process, all default middleware on, its spool shipping to a real NATS server,
responses stored in a real PostgreSQL; a backend of OpenAI's wire that answers at once, or streams
64 chunks 5 ms apart, asked through every surface, and through chat completions with nothing to
parse; load and backend share the other core.  Prints one line per figure: name median p99 n
machine.  CPU is user and system of the gateway's process; each figure is one round, so p99 is over
rounds.  `…_to_chat` is what a surface costs in relation to chat completions of the same round.
"""

import asyncio
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from appliance.infra.postgres.migrate import migrate
from tests.bench.load import LOADS, SOCKETS, drive
from tests.bench.upstream import CHUNKS, pin, serve_upstream
from tests.fakes.appliance import Appliance
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.ports import free_port
from tests.fakes.postgres import Cluster
from tests.fixtures_nats import NatsServer

ROUNDS = 7
REQUESTS = 3000
CONNECTIONS = 32
STREAMS = 32
STREAMS_EACH = 2


def cpu_s(pid: int) -> float:
    """User and system, of all its threads, to the nanosecond: /proc counts ticks of 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3), as Linux numbers them


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


def tell(kind: str, figures: Mapping[str, list[float]], n: int) -> None:
    """The figures, and each in relation to chat completions."""
    for name, values in figures.items():
        line(f"gateway_cpu_per_{name}_{kind}", "us", values, n)
    for name, values in figures.items():
        if name != "chat":
            ratios = [value / chat for value, chat in zip(values, figures["chat"], strict=True)]
            line(f"gateway_{name}_{kind}_to_chat", "x", ratios, n)


def configured(folder: Path, upstream: int, nats: NatsServer, dsn: str) -> str:
    """The gateway's configuration; its secrets are files."""
    (folder / "token").write_text(nats.config.token)
    (folder / "dsn").write_text(dsn)
    tables = (
        "max_in_flight = 1024",
        '[[models]]\nmatch = "raw"\nbackend = "scripted"\nupstream_model = "bench"\nparsers = []',
        f'[nats]\nurl = "{nats.config.url}"\ntoken = "file:{folder}/token"',
        f'[postgres]\ndsn = "file:{folder}/dsn"',
    )
    return backend_config(f"http://127.0.0.1:{upstream}/v1", more="\n".join(tables))


def measure(folder: Path, config: str) -> None:
    """One gateway: what it takes to be there, requests, chunks."""
    begun = time.monotonic()
    with GatewayProcess(folder, config) as gateway:
        line("gateway_ready", "s", [time.monotonic() - begun], 1)
        assert gateway.process is not None
        pid = gateway.process.pid
        os.sched_setaffinity(pid, {0})
        line("gateway_memory_idle", "MiB", [pss_mib(pid)], 1)
        each = REQUESTS // CONNECTIONS
        once = {
            name: partial(drive, gateway.port, load, CONNECTIONS, each, stream=False)
            for name, load in LOADS.items()
        }
        tell("request", rounds(pid, each * CONNECTIONS, once), REQUESTS)
        paced = {
            name: partial(drive, gateway.port, load, STREAMS, STREAMS_EACH, stream=True)
            for name, load in (LOADS | SOCKETS).items()
        }
        chunks = STREAMS * STREAMS_EACH * CHUNKS
        tell("chunk", rounds(pid, chunks, paced), chunks)
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
        folder.chmod(0o755)  # the unprivileged user of PostgreSQL has to get in
        measure_up(folder / "up")
        nats, postgres = NatsServer(folder), Cluster(folder, fsync=True)
        nats.start()
        pin(1)
        try:
            asyncio.run(postgres.create())
            dsn = postgres.create_database()
            asyncio.run(migrate(dsn))
            measure(folder, configured(folder, upstream, nats, dsn))
        finally:
            postgres.stop()
            nats.kill()
            backend.terminate()


if __name__ == "__main__":
    main()
