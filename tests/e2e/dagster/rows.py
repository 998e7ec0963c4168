"""What is in PostgreSQL and in the streams, read as nobody of the appliance reads it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import nats
import psycopg
from psycopg.rows import dict_row

from appliance.domain.events.durables import DURABLES, PIPELINE, of_dagster
from tests.fakes.until import until

WAIT_S = 120.0
TABLES = tuple(table for durable in DURABLES.values() for table in durable.tables)
DAGSTERS = frozenset(of_dagster(durable).name for durable in DURABLES.values())
DRIVERS = DAGSTERS | {durable.name for durable in DURABLES.values()}


class Rows:
    """The tables behind `dsn`.  While PostgreSQL is away they have no rows."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def all(self, query: str, *values: object) -> list[dict[str, Any]]:
        try:
            with psycopg.connect(self._dsn, row_factory=dict_row, connect_timeout=5) as connection:
                return connection.execute(query.encode(), values).fetchall()
        except psycopg.OperationalError:
            return []

    def of(self, table: str, traces: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these exchanges."""
        return self.all(f"SELECT * FROM {table} WHERE trace_id = ANY(%s)", list(traces))

    def exchanges(self, table: str, traces: Sequence[str]) -> int:
        """How many of these exchanges have rows."""
        query = f"SELECT count(DISTINCT trace_id) AS n FROM {table} WHERE trace_id = ANY(%s)"
        return sum(row["n"] for row in self.all(query, list(traces)))

    def each(self, table: str, traces: Sequence[str]) -> set[int]:
        """The different numbers of rows these exchanges have."""
        query = (
            "SELECT DISTINCT count(t.trace_id) AS n FROM unnest(%s::text[]) AS wanted(trace_id)"
            f" LEFT JOIN {table} AS t USING (trace_id) GROUP BY wanted.trace_id"
        )
        return {row["n"] for row in self.all(query, list(traces))}

    def letters(self) -> list[tuple[str, str]]:
        """Event ids and reasons of the dead letters."""
        found = self.all("SELECT event_id, reason FROM dead_letters")
        return [(row["event_id"], row["reason"]) for row in found]

    def wait(self, table: str, traces: Sequence[str], timeout_s: float = WAIT_S) -> None:
        """Until every one of these exchanges has a row."""
        until(
            lambda: self.exchanges(table, traces) == len(set(traces)),
            lambda: (
                f"{table}: {self.exchanges(table, traces)} of {len(traces)}; {self.letters()[:3]}"
            ),
            timeout_s,
        )


def wait_taken(url: str, durables: frozenset[str] = DRIVERS, timeout_s: float = WAIT_S) -> None:
    """Until `durables` have acked all that is in the stream: whoever pulls for them is in no
    transaction any more, whose locks it would keep for a minute when it is frozen there."""
    until(
        lambda: not asyncio.run(_left(url, durables)),
        lambda: asyncio.run(_left(url, durables)),
        timeout_s,
    )


async def _left(url: str, durables: frozenset[str]) -> dict[str, int]:
    client = await nats.connect(url)
    try:
        infos = await client.jetstream(timeout=10).consumers_info(PIPELINE)
        own = [info for info in infos if info.name in durables]
        left = {i.name: (i.num_pending or 0) + (i.num_ack_pending or 0) for i in own}
        missing = dict.fromkeys(durables - set(left), -1)
        return missing | {name: count for name, count in left.items() if count}
    finally:
        await client.close()
