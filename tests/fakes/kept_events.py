"""Events as they lie in the real streams and tables, for the commands that come back to them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from appliance.domain.events.delivery import Delivery, Written
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import (
    Embedding,
    Exchange,
    Feedback,
    Hit,
    Rerank,
    Retrieval,
    Returned,
    Scored,
)
from appliance.domain.events.topics import events_of
from appliance.infra.nats.objects import Payloads, is_reference
from appliance.infra.nats.reader.range import Stored, StreamReader, visit
from appliance.infra.nats.streams import ensure_streams
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.exchanges import exchange
from tests.fixtures_nats import NatsServer

TABLES = tuple(table for durable in DURABLES.values() for table in durable.tables)
Run = Callable[..., subprocess.CompletedProcess[str]]


def recent(number: int, **changes: Any) -> Exchange:
    """An exchange of this moment, with an event on every subject; its texts end in its number.  It
    rates itself, so that every row has its trace id."""
    now = time.time()
    trace_id = f"{int(now * 1000):012x}{number:020x}"
    name = f"call-{number}"
    made = exchange(
        number,
        trace_id=trace_id,
        occurred_at=now,
        tool_calls=(
            {"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}},
        ),
        tool_results=(Returned(f"call-{number - 1}", "look", "{}", f"result {number}"),),
        retrieval=Retrieval(
            "default",
            (Hit("notes.md", 2, 0.75),),
            query=f"query {number}",
            embedding=Embedding("query", "minilm", (f"query {number}",)),
        ),
        rerank=Rerank(
            "colbert-tiny", f"query {number}", 1, None, (Scored(0, 0.75, "d", "notes.md"),)
        ),
        feedback=Feedback(trace_id, 1, f"comment {number}"),
    )
    return replace(made, **changes)


class Kept:
    """The streams of `server`, whose files are in `store`, and the tables behind `dsn`."""

    def __init__(self, server: NatsServer, store: Path, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        self._store = store

    async def publish(self, exchanges: Iterable[Exchange], *, by_reference: bool = False) -> None:
        """Every event of `exchanges`, as a gateway ships them."""
        async with visit(self.server.config) as client:
            js = client.jetstream(timeout=10)
            await ensure_streams(js, 1)
            for event in (event for each in exchanges for event in events_of(each)):
                data = msgspec.json.encode(event.body)
                if by_reference and event.subject.startswith("pipeline."):
                    data = await Payloads(js).put(event.body, data)
                headers = {"Nats-Msg-Id": event.event_id}
                await js.publish(event.subject, data, headers=headers)

    async def publish_raw(self, subject: str, data: bytes, event_id: str = "") -> None:
        """One message, whatever it is."""
        async with visit(self.server.config) as client:
            js = client.jetstream(timeout=10)
            await ensure_streams(js, 1)
            await js.publish(subject, data, headers={"Nats-Msg-Id": event_id} if event_id else None)

    async def consume(self) -> Written:
        """All of PIPELINE through the writers; what they reject becomes dead letters."""
        written = Written()
        async with visit(self.server.config) as client, PostgresPool(self.dsn) as pool:
            payloads = Payloads(client.jetstream(timeout=10))
            async with StreamReader(client, "PIPELINE") as reader:
                async for batch in reader.batches():
                    for m in batch.messages:
                        whole = await payloads.resolve(m.data) if is_reference(m.data) else m.data
                        one = Delivery("PIPELINE", m.subject, m.sequence, 1, m.event_id, whole)
                        writer = writer_for(m.subject, pool)
                        result = await writer.write([one])
                        await writer.bury(result.rejected)
                        written.add(result)
        return written

    async def first_message(self, stream: str = "PIPELINE") -> Stored:
        """The oldest of `stream`."""
        async with (
            visit(self.server.config) as client,
            StreamReader(client, stream) as reader,
            aclosing(reader.batches()) as batches,
        ):
            return (await anext(batches)).messages[0]

    def rows(self, tables: Sequence[str] = TABLES) -> dict[str, int]:
        """How many rows each table has."""
        with psycopg.connect(self.dsn) as connection:
            return {table: _count(connection, table) for table in tables}

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def dump(self) -> str:
        """Every row of every table as text, payloads of dead letters included."""
        with psycopg.connect(self.dsn) as connection:
            names = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
            lines = [
                str(row[0])
                for (name,) in names
                for row in connection.execute(
                    sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
                )
            ]
            payloads = connection.execute("SELECT payload FROM dead_letters").fetchall()
        return "\n".join([*lines, *(bytes(row[0]).decode("utf-8", "replace") for row in payloads)])

    def files(self, word: str) -> list[str]:
        """Files of NATS that `word` is in."""
        return [
            path.name
            for path in self._store.rglob("*")
            if path.is_file() and word.encode() in path.read_bytes()
        ]

    async def gone_from_files(self, word: str) -> None:
        """NATS writes what it was told a moment later."""
        await self.eventually(lambda: not self.files(word))

    async def eventually(self, claim: Callable[[], bool]) -> None:
        """Wait for `claim` to hold."""
        for _ in range(1200):
            if claim():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it did not come to pass")


def commands(folder: Path, server: NatsServer, dsn: str) -> Run:
    """`appliance COMMAND …` of a host whose spool is FOLDER/spool; `terminal` is its stdin."""
    config = folder / "host.toml"
    (folder / "dsn").write_text(dsn)
    config.write_text(
        f'[nats]\nurl = "{server.config.url}"\ntoken = "env:KEPT_TEST_TOKEN"\n'
        f'[postgres]\ndsn = "file:dsn"\n[spool]\ndir = "{folder / "spool"}"\n'
    )
    env = os.environ | {
        "APPLIANCE_STATE": str(folder / "none"),
        "XDG_CONFIG_HOME": str(folder / "none"),
        "KEPT_TEST_TOKEN": server.config.token,
    }

    def run(*words: object, terminal: int | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "appliance", *map(str, words), "--config", str(config)]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            capture_output=True,
            text=True,
            env=env,
            timeout=180,
            check=False,
        )

    return run


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
    ).fetchone()
    return int(row[0]) if row else 0
