"""How much there is, for the metadata of the pipelines: rows of a table, events of recent
exchanges, and what a run has covered.

Reads only; beside `event_checks.py`, which asks whether the rows are right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from appliance.infra.postgres.pool import PostgresPool

MOST_COUNTED = 50_000  # rows; beyond it PostgreSQL's own estimate has to do
# Kind of event -> the table that has a row where an exchange had one.
KINDS: Mapping[str, str] = {
    "embedding": "embedding_events",
    "retrieve": "retrieve_events",
    "compose": "compose_events",
    "flow_lineage": "flow_lineage",
    "tool_call": "tool_calls",
    "feedback": "feedback",
}
_ESTIMATE = """
SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'r'
"""
_COUNT = "SELECT count(*) FROM {table}"
_ANY_SINCE = "SELECT EXISTS (SELECT FROM {table} WHERE created_at > to_timestamp(%s))"
# The view itself gathers every event of every row; counting needs none of them.
_EXCHANGES = """
SELECT count(*), count(p.embedding),
    extract(epoch FROM min(h.created_at))::float8, extract(epoch FROM max(h.created_at))::float8
FROM chat_history h LEFT JOIN chat_pairs p USING (trace_id)
WHERE h.detail IS NOT NULL AND h.created_at >= to_timestamp(%s)
"""
_HAVING = "SELECT count(DISTINCT trace_id) FROM {table} WHERE created_at >= to_timestamp(%s)"
_COVERED = """
SELECT max(events), min(oldest)::text, max(newest)::text FROM pipeline_runs
WHERE run_id = %s AND subject = %s AND asset <> %s HAVING count(*) > 0
"""
_RANGES = """
SELECT lower(r), upper(r) - 1 FROM unnest((
    SELECT range_agg(sequences) FROM pipeline_runs
    WHERE run_id = %s AND subject = %s AND asset <> %s)) AS r
"""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Chats since a time: how many, `embedded` of them with the vector of their pair, and by kind
    of event how many exchanges had one; `oldest` and `newest` in Unix seconds, None without any."""

    count: int
    embedded: int
    kinds: Mapping[str, int]
    oldest: float | None
    newest: float | None


@dataclass(frozen=True, slots=True)
class Covered:
    """What the assets of a run have handled of a subject: inclusive `ranges` of sequences, how many
    events these were, and when they occurred, as PostgreSQL writes times."""

    ranges: list[tuple[int, int]]
    events: int
    occurred: tuple[str, str] | None


async def row_count(pool: PostgresPool, table: str, *, exactly: bool = False) -> int | None:
    """Rows of `table`, an estimate when there are more than MOST_COUNTED and nobody wants it
    `exactly`; None for a view.  Raises PartUnavailable, as every function here."""
    found = await _rows(pool, sql.SQL(_ESTIMATE), (table,))
    if not found:
        return None
    ((estimate,),) = found
    if estimate > MOST_COUNTED and not exactly:
        return int(estimate)
    ((count,),) = await _rows(pool, sql.SQL(_COUNT).format(table=sql.Identifier(table)), ())
    return int(count)


async def any_since(pool: PostgresPool, table: str, since: float) -> bool:
    """Is there a row of an event that occurred after `since`, Unix seconds?"""
    statement = sql.SQL(_ANY_SINCE).format(table=sql.Identifier(table))
    ((found,),) = await _rows(pool, statement, (since,))
    return bool(found)


async def exchanges(pool: PostgresPool, since: float) -> Exchanges:
    """Those since `since`, Unix seconds."""
    ((count, embedded, oldest, newest),) = await _rows(pool, sql.SQL(_EXCHANGES), (since,))
    kinds = {}
    for kind, table in KINDS.items():
        statement = sql.SQL(_HAVING).format(table=sql.Identifier(table))
        ((kinds[kind],),) = await _rows(pool, statement, (since,))
    return Exchanges(count, embedded, kinds, oldest, newest)


async def covered(pool: PostgresPool, run_id: str, subject: str, *, but: str) -> Covered:
    """By all assets of the run, `but` one."""
    which = (run_id, subject, but)
    ranges = await _rows(pool, sql.SQL(_RANGES), which)
    told = await _rows(pool, sql.SQL(_COVERED), which)
    events, oldest, newest = told[0] if told else (0, None, None)
    return Covered(
        [(int(first), int(last)) for first, last in ranges],
        int(events),
        (oldest, newest) if told else None,
    )


async def _rows(
    pool: PostgresPool, statement: sql.SQL | sql.Composed, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    async with pool.transaction() as connection:
        return await (await connection.execute(statement, values)).fetchall()
