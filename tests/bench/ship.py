"""What an exchange costs on its way from the spool to JetStream: CPU per exchange, and of `keep`.

    python -m tests.bench.ship

A real NATS server, uvloop, direct chats of 1 KB (four messages, two acks), each a conversation of
its own.  `ship` is all of the process's CPU, from the record to the last ack, but for `keep`.
`ship.burst` keeps 32 exchanges each 10 ms, `ship.single` one: what a quiet gateway pays.
Prints one line per figure: name median p99 n machine; each round is one value.
"""

import asyncio
import gc
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from appliance.config.schema import SpoolConfig
from appliance.domain.events.exchange import Exchange
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange
from tests.fixtures_nats import NatsServer

ROUNDS = 9
PACES = {"burst": (32, 100), "single": (1, 200)}
WARM_UP = 500


def chats(first: int, count: int) -> list[Exchange]:
    """Direct chats with 1 KB of prompt."""
    return [
        replace(exchange(n, size=1000, retrieval=None), conversation_id=f"conversation-{n}")
        for n in range(first, first + count)
    ]


async def shipped(spool: Spool) -> None:
    """Everything kept is acked."""
    while spool.stats().depth_records:
        await asyncio.sleep(0.002)


async def measure(spool: Spool, first: int, size: int, count: int) -> tuple[float, float]:
    """µs of CPU per exchange: (ship, keep)."""
    exchanges = chats(first, size * count)
    gc.collect()
    gc.freeze()  # what the bench holds is not what a gateway holds
    began, keeping = time.process_time(), 0.0
    for at in range(0, len(exchanges), size):
        before = time.thread_time()
        for kept in exchanges[at : at + size]:
            assert spool.keep(kept)
        keeping += time.thread_time() - before
        await asyncio.sleep(0.01)
    await shipped(spool)
    spent = time.process_time() - began
    scale = 1e6 / len(exchanges)
    return (spent - keeping) * scale, keeping * scale


async def run(server: NatsServer, directory: Path) -> dict[str, list[float]]:
    """Values by name."""
    values: dict[str, list[float]] = {}
    async with Spool(directory, SpoolConfig()) as spool, Shipper(spool, server.config, "bench"):
        for warm in chats(0, WARM_UP):
            spool.keep(warm)
        await asyncio.sleep(0.5)
        await shipped(spool)
        first = WARM_UP
        for _ in range(ROUNDS):
            for name, (size, count) in PACES.items():
                ship, keep = await measure(spool, first, size, count)
                first += size * count
                values.setdefault(f"ship.{name}", []).append(ship)
                values.setdefault(f"keep.{name}", []).append(keep)
    return values


def main() -> None:
    """Print the figures."""
    machine = f"{os.cpu_count()}x{platform.machine()}"
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        try:
            values = uvloop.run(run(server, Path(folder) / "spool"))
        finally:
            server.kill()
    for name, found in values.items():
        print(f"{name} {statistics.median(found):.1f}us {max(found):.1f}us {len(found)} {machine}")


if __name__ == "__main__":
    main()
