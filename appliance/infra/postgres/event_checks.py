"""Are the rows of events right: none twice, none without what it refers to.  For the asset checks
of the pipelines; reads only.  What the tables look like is in `table_facts.py`.

Everything is bounded to rows since a time: a BRIN index passes by the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from appliance.infra.postgres.pool import Connection, PostgresPool

# What makes a row the same as another, whatever the table's own keys say: an index can be wrong.
KEYS: Mapping[str, tuple[str, ...]] = {
    "chat_history": ("trace_id", "seq"),
    "chat_pairs": ("trace_id",),
    "embedding_events": ("event_id",),
    "retrieve_events": ("event_id",),
    "rerank_scores": ("event_id", "document_index"),
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
    "rerank": "rerank_scores",
    "compose": "compose_events",
    "tool": "tool_calls",
    "tool_result": "tool_results",
}
MOST_ORPHANS = 100
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
# Whoever only embeds, moderates or reranks has no chat: the parent of its answer tells.  A
# rerank that failed gave no scores.
_NO_ROW = """
SELECT f.trace_id, f.node_id, {name} FROM flow_lineage f
WHERE f.kind = {kind}
    AND NOT (f.kind = 'answer' AND (f.parents = '{{embedding}}'
        OR f.parents && '{{moderation,rerank}}'))
    AND NOT (f.kind = 'rerank' AND f.status <> 'ok')
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


@dataclass(frozen=True, slots=True)
class Orphan:
    """A node of the lineage that lacks `missing`: a parent of that id, or a row in that table."""

    trace_id: str
    node_id: str
    missing: str


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


async def _rows(
    connection: Connection, statement: sql.Composed, values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()


def _place(orphan: Orphan) -> tuple[str, str, str]:
    return orphan.trace_id, orphan.node_id, orphan.missing
