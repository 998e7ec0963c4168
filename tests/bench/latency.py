"""How long after its answer an exchange is a row: 100 exchanges a second, every subject.

    python -m tests.bench.latency

From `Spool.keep`, which comes before the last frame of an answer, to the commit of its rows as
PostgreSQL dates it.  Spool and shipper in this process on uvloop, real NATS, the consumer role in
its own process, PostgreSQL syncing its commits.  One line per table: name median p99 n machine.
"""

import asyncio
import os
import platform
import tempfile
import time
from pathlib import Path

import psycopg
import uvloop

from appliance.config.schema import SpoolConfig
from appliance.domain.events.exchange import (
    Embedding,
    Exchange,
    Feedback,
    Hit,
    Retrieval,
    Returned,
)
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.postgres.migrate import migrate
from appliance.infra.spool.spool import Spool
from tests.fakes.consumer import Consumer, consuming
from tests.fakes.exchanges import exchange
from tests.fakes.postgres import Cluster
from tests.fixtures_nats import NatsServer

RATE = 100
WARM_UP, COUNT = 200, 2000
LAST = (
    "chat_pairs",
    "flow_lineage",
    "embedding_events",
    "retrieve_events",
    "compose_events",
    "tool_calls",
    "feedback",
)


def everything(number: int) -> Exchange:
    """2 KB, with knowledge, a tool's result, a call and feedback on itself: an event of every
    subject."""
    call = {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = Embedding("query", "all-minilm-l6-v2", ("how?",), 256, 3, 0.001, 0.005)
    return exchange(
        number,
        size=1000,
        conversation_id=f"conversation-{number}",
        tool_calls=(call,),
        tool_results=(Returned(f"c{number - 1}", "f", "{}", "done"),),
        retrieval=Retrieval("default", (Hit("notes.md", 2, 0.75, 40),), embedding=made),
        feedback=Feedback(f"{number:032x}", 1),
    )


async def keep_at_a_rate(spool: Spool) -> dict[str, float]:
    """Unix seconds of each `keep`, by trace id."""
    kept = {}
    begun = time.perf_counter()
    for number in range(1, WARM_UP + COUNT + 1):
        await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        one = everything(number)
        kept[one.trace_id] = time.time()
        spool.keep(one)
    return dict(list(kept.items())[WARM_UP:])


async def run(folder: Path, server: NatsServer, dsn: str) -> None:
    config = SpoolConfig()
    async with Spool(folder / "spool", config) as spool, Shipper(spool, server.config, "bench"):
        kept = await keep_at_a_rate(spool)
        await asyncio.to_thread(_wait_for_rows, dsn)
    for table in LAST:
        waited = sorted(
            (committed - kept[trace]) * 1e3
            for trace, committed in _committed(dsn, table)
            if trace in kept
        )
        median, p99 = waited[len(waited) // 2], waited[int(len(waited) * 0.99)]
        machine = f"{platform.machine()}x{os.cpu_count()}"
        print(f"answer_to_{table} {median:.0f}ms {p99:.0f}ms n={len(waited)} {machine}")


def _committed(dsn: str, table: str) -> list[tuple[str, float]]:
    moment = "extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT trace_id, {moment} FROM {table}".encode()).fetchall()


def _wait_for_rows(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in LAST:
            count = f"SELECT count(DISTINCT trace_id) FROM {table}".encode()
            while connection.execute(count).fetchone() != (WARM_UP + COUNT,):
                time.sleep(0.1)


def main(folder: Path) -> None:
    """Everything of its own, gone afterwards."""
    cluster = Cluster(folder, fsync=True, settings=("track_commit_timestamp=on",))
    server = NatsServer(folder)
    try:
        asyncio.run(cluster.create())
        server.start()
        dsn = cluster.create_database()
        asyncio.run(migrate(dsn))
        with consuming(Consumer(folder, server, dsn)):
            uvloop.run(run(folder, server, dsn))
    finally:
        server.kill()
        cluster.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the unprivileged user of PostgreSQL has to get in
        main(Path(name))
