"""What can be asked of the tables of events: are they right, and what do they look like.  For the
asset checks and the metadata of the pipelines; reads only.

Everything is bounded to recent rows, by their time: a BRIN index passes by the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from appliance.infra.postgres.pool import Connection, PostgresPool

# What makes a row the same as another, whatever the table's own keys say: an index can be wrong.
KEYS: Mapping[str, tuple[str, ...]] = {
    "chat_history": ("trace_id", "seq"),
    "chat_pairs": ("trace_id",),
    "embedding_events": ("event_id",),
    "retrieve_events": ("event_id",),
    "compose_events": ("event_id",),
    "flow_lineage": ("trace_id", "node_id"),
    "tool_calls": ("event_id",),
    "tool_results": ("event_id",),
    "feedback": ("event_id",),
    "knowledge_events": ("trace_id",),
}
# Kind of a node -> the table that has a row where there is such a node.
ROWS_OF: Mapping[str, str] = {
    "answer": "chat_history",
    "embedding": "embedding_events",
    "retrieve": "retrieve_events",
    "compose": "compose_events",
    "tool": "tool_calls",
    "tool_result": "tool_results",
}
MOST_ORPHANS = 100
RECENT_S = 86_400.0  # what is looked at when nobody says since when
_CUT = 80
_DUPLICATES = """
SELECT coalesce(sum(times - 1), 0) FROM (
    SELECT count(*) AS times FROM {table} WHERE created_at >= to_timestamp(%(since)s)
    GROUP BY {key} HAVING count(*) > 1
) AS repeated
"""
_NO_PARENT = """
SELECT f.trace_id, f.node_id, parent
FROM flow_lineage f CROSS JOIN unnest(f.parents) AS parent
WHERE f.created_at >= to_timestamp(%(since)s) AND NOT EXISTS (
    SELECT FROM flow_lineage p WHERE p.trace_id = f.trace_id AND p.node_id = parent)
LIMIT %(most)s
"""
# Whoever only embeds has no chat: the parent of its answer is the embedding.
_NO_ROW = """
SELECT f.trace_id, f.node_id, {name} FROM flow_lineage f
WHERE f.kind = {kind} AND (f.kind <> 'answer' OR f.parents <> '{{embedding}}')
    AND f.created_at >= to_timestamp(%(since)s)
    AND f.created_at < now() - make_interval(secs => %(grace_s)s)
    AND NOT EXISTS (SELECT FROM {table} r WHERE r.trace_id = f.trace_id)
    AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.trace_id = f.trace_id)
LIMIT %(most)s
"""
_NO_LINEAGE = """
SELECT h.trace_id FROM chat_history h
WHERE h.detail IS NOT NULL AND h.created_at >= to_timestamp(%(since)s)
    AND h.created_at < now() - make_interval(secs => %(grace_s)s)
    AND NOT EXISTS (SELECT FROM flow_lineage f WHERE f.trace_id = h.trace_id)
    AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.trace_id = h.trace_id)
LIMIT %(most)s
"""
_SCHEMA = """
SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_SPAN = """
SELECT count(*), extract(epoch FROM min(created_at))::float8,
    extract(epoch FROM max(created_at))::float8
FROM {table} WHERE created_at >= to_timestamp(coalesce(%(since)s,
    extract(epoch FROM now()) - %(recent_s)s))
"""
# What is shown is cut last: not of all the rows that are passed by.
_PREVIEW = """
SELECT {columns} FROM (
    SELECT * FROM {table} WHERE created_at >= to_timestamp(coalesce(%(since)s,
        extract(epoch FROM now()) - %(recent_s)s))
    ORDER BY created_at DESC LIMIT %(most)s
) AS newest ORDER BY created_at DESC
"""
# By the beginning of a column's type: as what it is shown.  Any other is a text, and cut.
_AS_IT_IS = ("integer", "bigint", "double precision", "boolean", "timestamp")
_SIZED: Mapping[str, str] = {"vector": "vector_dims({})", "bytea": "octet_length({})"}


@dataclass(frozen=True, slots=True)
class Orphan:
    """A node of the lineage that lacks `missing`: a parent of that id, or a row in that table."""

    trace_id: str
    node_id: str
    missing: str


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as PostgreSQL writes it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Span:
    """How many rows there are since a time, and when the events of them occurred, Unix seconds;
    None without rows."""

    rows: int
    oldest: float | None
    newest: float | None


async def duplicates(pool: PostgresPool, table: str, since: float) -> int:
    """How many rows of `table`, a key of KEYS, are there once too often among those since `since`,
    Unix seconds.  Raises PartUnavailable, as every function here."""
    key = sql.SQL(", ").join(map(sql.Identifier, KEYS[table]))
    statement = sql.SQL(_DUPLICATES).format(table=sql.Identifier(table), key=key)
    async with pool.transaction() as connection:
        ((count,),) = await _rows(connection, statement, {"since": since})
    return int(count)


async def lineage_orphans(pool: PostgresPool, since: float, grace_s: float) -> list[Orphan]:
    """Nodes since `since` without a parent they name, or without the row of what they tell; each
    subject comes in its own time, so that a row has `grace_s` from its event on.

    `since` must be younger than what `[retention]` removes.  What is in dead_letters is known, and
    no orphan.  MOST_ORPHANS at most of each sort.
    """
    values = {"since": since, "grace_s": grace_s, "most": MOST_ORPHANS}
    statements = [sql.SQL(_NO_PARENT).format()]
    for kind, table in ROWS_OF.items():
        names = {"kind": sql.Literal(kind), "name": sql.Literal(table)}
        statements.append(sql.SQL(_NO_ROW).format(table=sql.Identifier(table), **names))
    async with pool.transaction() as connection:
        found = [await _rows(connection, statement, values) for statement in statements]
    return sorted((Orphan(*row) for rows in found for row in rows), key=_place)


async def chats_without_lineage(pool: PostgresPool, since: float, grace_s: float) -> list[str]:
    """Trace ids of chats without a node of their own, as `lineage_orphans` looks for nodes."""
    values = {"since": since, "grace_s": grace_s, "most": MOST_ORPHANS}
    async with pool.transaction() as connection:
        found = await _rows(connection, sql.SQL(_NO_LINEAGE).format(), values)
    return sorted(str(row[0]) for row in found)


async def schema_of(pool: PostgresPool, table: str) -> list[Column]:
    """The columns of a table or view, in their order; none when it does not exist."""
    async with pool.transaction() as connection:
        return await _columns(connection, table)


async def span(pool: PostgresPool, table: str, *, since: float | None = None) -> Span:
    """Of the rows since `since`, Unix seconds; of the last day when nobody says."""
    statement = sql.SQL(_SPAN).format(table=sql.Identifier(table))
    async with pool.transaction() as connection:
        ((rows, oldest, newest),) = await _rows(connection, statement, _since(since))
    return Span(rows, oldest, newest)


async def preview(
    pool: PostgresPool, table: str, n: int, *, since: float | None = None
) -> list[dict[str, Any]]:
    """The `n` newest rows since `since` (as for `span`), newest first, by column: texts and JSON
    cut to 80 characters, of vectors and bytes their length, times in RFC 3339."""
    async with pool.transaction() as connection:
        columns = await _columns(connection, table)
        shown = sql.SQL(", ").join(_shown(column) for column in columns)
        statement = sql.SQL(_PREVIEW).format(columns=shown, table=sql.Identifier(table))
        found = await _rows(connection, statement, {**_since(since), "most": n})
    names = [column.name for column in columns]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in found]


async def _columns(connection: Connection, table: str) -> list[Column]:
    found = await connection.execute(_SCHEMA, (table,))
    return [Column(*row) for row in await found.fetchall()]


def _shown(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type.startswith(_AS_IT_IS):
        return name
    for kind, expression in _SIZED.items():
        if column.type.startswith(kind):
            return sql.SQL(expression).format(name)
    cut = "CASE WHEN length({0}::text) > {1} THEN left({0}::text, {2}) || '…' ELSE {0}::text END"
    return sql.SQL(cut).format(name, sql.Literal(_CUT), sql.Literal(_CUT - 1))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _since(since: float | None) -> dict[str, float | None]:
    return {"since": since, "recent_s": RECENT_S}


async def _rows(
    connection: Connection, statement: sql.Composed, values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()


def _place(orphan: Orphan) -> tuple[str, str, str]:
    return orphan.trace_id, orphan.node_id, orphan.missing
