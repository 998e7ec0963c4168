"""What a row costs: the writer of chat events alone, beside a bare INSERT; and the consumer role.

    python -m tests.bench.consumer

Chat events of 2 KB in batches of 500, into a PostgreSQL that syncs its commits.  The bare INSERTs
put the same rows, made beforehand, into identical tables, a transaction a batch and nothing about
conflicts: one with VALUES of many rows, one over arrays as the writer does.  All alternate in one
process.  Then the role in its own process
empties a stream of real NATS: pull, write, ack.  Prints one line per figure: name median p99 n
machine, in milliseconds a batch; a rate has no percentiles.
"""

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nats
import psycopg
import uvloop

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery
from appliance.infra.nats.streams import ensure_streams
from appliance.infra.postgres.migrate import migrate
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.rows import ChatRows, decode
from appliance.infra.postgres.writers import writer_for
from appliance.infra.postgres.writers.chat import CONTENTS, HISTORY, PAIRS
from appliance.infra.postgres.writers.table import Row, Table
from tests.fakes.deliveries import deliveries
from tests.fakes.exchanges import exchange
from tests.fakes.postgres import Cluster
from tests.fixtures_nats import NatsServer

EVENT_BYTES = 2048
BATCH = 500
BATCHES = 24
STREAMED = 20_000
TABLES = (CONTENTS, HISTORY, PAIRS)


def line(name: str, values_ms: list[float]) -> float:
    """Print it; the events a second that the median makes."""
    ordered = sorted(values_ms)
    median, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name} {median:.1f}ms {p99:.1f}ms n={len(ordered)} {_machine()}", flush=True)
    return BATCH / median * 1e3


def _machine() -> str:
    return f"{platform.machine()}x{os.cpu_count()}"


def batches(count: int) -> Iterator[list[Delivery]]:
    """`count` batches of events of EVENT_BYTES."""
    size = EVENT_BYTES - len(deliveries(PERSIST, exchange(10_000, size=0))[0].data)
    for first in range(10_000, 10_000 + count * BATCH, BATCH):
        made = [exchange(number, size=size) for number in range(first, first + BATCH)]
        yield deliveries(PERSIST, *made, first=first)


class Bare:
    """Plain INSERTs into copies of the tables with all their indexes, in `schema`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._contents: set[bytes] = set()

    async def create(self) -> None:
        await self._connection.execute(f"CREATE SCHEMA {self._schema}".encode())
        for table in TABLES:
            copy = f"CREATE TABLE {self._schema}.{table.name} (LIKE {table.name} INCLUDING ALL)"
            await self._connection.execute(copy.encode())

    def rows(self, batch: Sequence[Delivery]) -> list[tuple[Table, list[Row]]]:
        """As the writer makes them; a content that is there already would be a conflict."""
        made = ChatRows()
        for delivery in batch:
            made.add(decode(delivery.data), delivery.sequence)
        contents = [row for key, row in made.contents.items() if key not in self._contents]
        self._contents.update(made.contents)
        return list(zip(TABLES, (contents, made.history, made.pairs), strict=True))

    async def insert_values(self, tables: Sequence[tuple[Table, list[Row]]]) -> None:
        async with self._connection.transaction():
            for table, rows in tables:
                one = f"({', '.join(['%s'] * len(rows[0]))})"
                values = ", ".join([one] * len(rows))
                names = ", ".join(table.columns)
                statement = f"INSERT INTO {self._schema}.{table.name} ({names}) VALUES {values}"
                flat = [value for row in rows for value in row]
                await self._connection.execute(statement.encode(), flat)

    async def insert_arrays(self, tables: Sequence[tuple[Table, list[Row]]]) -> None:
        async with self._connection.transaction(), self._connection.pipeline():
            for table, rows in tables:
                statement = table.insert.decode().removesuffix("ON CONFLICT DO NOTHING")
                statement = statement.replace("INTO ", f"INTO {self._schema}.", 1)
                await self._connection.execute(statement.encode(), table.arrays(rows))


async def _timed(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return (time.perf_counter() - begun) * 1e3


async def writer_beside_bare(dsn: str) -> None:
    """All write the same batches, each first every third time."""
    figures: dict[str, list[float]] = {"writer": [], "bare_values": [], "bare_arrays": []}
    async with (
        PostgresPool(dsn) as pool,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection,
    ):
        writer = writer_for(PERSIST, pool)
        values, arrays = Bare(connection, "by_values"), Bare(connection, "by_arrays")
        await values.create()
        await arrays.create()
        for number, batch in enumerate(batches(BATCHES)):
            works = deque(
                (
                    ("writer", writer.write(batch)),
                    ("bare_values", values.insert_values(values.rows(batch))),
                    ("bare_arrays", arrays.insert_arrays(arrays.rows(batch))),
                )
            )
            works.rotate(number)
            for name, work in works:
                figures[name].append(await _timed(work))
        again = [await _timed(writer.write(batch)) for batch in batches(4)]
    rates = {name: line(f"consumer_{name}_batch_500", ms[3:]) for name, ms in figures.items()}
    line("consumer_writer_replayed_batch_500", again)
    for bare in ("bare_values", "bare_arrays"):
        share = f"{rates['writer'] / rates[bare]:.0%}"
        told = f"{rates['writer']:.0f}/s of {rates[bare]:.0f}/s"
        print(f"consumer_writer_of_{bare} {share} {told} n={BATCHES - 3} {_machine()}", flush=True)


async def _publish(server: NatsServer) -> None:
    client = await nats.connect(server.config.url, token=server.config.token)
    js = client.jetstream()
    await ensure_streams(js, 1)
    for batch in batches(STREAMED // BATCH):
        await asyncio.gather(*(js.publish(PERSIST, each.data, timeout=30) for each in batch))
    await client.close()


async def _until_written(dsn: str) -> float:
    """Events a second from the first rows to the last."""
    begun, first, count = 0.0, 0, 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        while count < STREAMED:
            await asyncio.sleep(0.05)
            row = connection.execute("SELECT count(*) FROM chat_pairs").fetchone()
            count = row[0] if row else 0
            if count and not first:
                begun, first = time.perf_counter(), count
    return (STREAMED - first) / (time.perf_counter() - begun)


def through_a_stream(server: NatsServer, dsn: str, folder: Path) -> None:
    """The role empties a stream into which nobody publishes any more."""
    uvloop.run(_publish(server))
    (folder / "dsn").write_text(dsn)
    (folder / "token").write_text(server.config.token)
    config = folder / "consumer.toml"
    config.write_text(
        f'[nats]\nurl = "{server.config.url}"\ntoken = "file:token"\n[postgres]\ndsn = "file:dsn"\n'
    )
    command = [sys.executable, "-m", "appliance", "run", "--role", "consumer"]
    with (folder / "consumer.log").open("wb") as log:
        process = subprocess.Popen([*command, "--config", str(config)], stdout=log, stderr=log)
    try:
        rate = uvloop.run(_until_written(dsn))
        print(f"consumer_role_from_stream {rate:.0f}/s n={STREAMED} {_machine()}", flush=True)
    finally:
        process.terminate()
        process.wait()


def _migrated(cluster: Cluster) -> str:
    dsn = cluster.create_database()
    asyncio.run(migrate(dsn))
    return dsn


def main(folder: Path) -> None:
    """Everything of its own, gone afterwards."""
    cluster = Cluster(folder, fsync=True)
    server = NatsServer(folder)
    try:
        asyncio.run(cluster.create())
        server.start()
        uvloop.run(writer_beside_bare(_migrated(cluster)))
        through_a_stream(server, _migrated(cluster), folder)
    finally:
        server.kill()
        cluster.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the unprivileged user of PostgreSQL has to get in
        main(Path(name))
