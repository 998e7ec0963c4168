"""Takes what Dagster remembers of exchanges out of its own database: the ids on runs, the rows in
previews, the findings of checks.  For `appliance forget`, which must not import Dagster.

The tables are Dagster's; tests/integration/infra/postgres/test_dagster_forget.py holds this to the
release that is installed.  Its runs and counts stay: they say nothing of anybody.
"""

import json
import re
from collections.abc import Collection
from functools import partial
from typing import Any

from psycopg import sql

from appliance.infra.postgres.dagster_runs import THERE, in_dagster
from appliance.infra.postgres.pool import Connection, PostgresPool

INSTEAD = "(an exchange that was forgotten)"
_TAGS = ["trace_id", "correlation_id"]
# Where metadata is kept: table, its column of JSON, and of which of its rows.
_TOLD = (
    ("event_logs", "event", "dagster_event_type = ANY(%(types)s)"),
    ("asset_keys", "last_materialization", "last_materialization IS NOT NULL"),
    ("asset_check_executions", "evaluation_event", "evaluation_event IS NOT NULL"),
)
_TYPES = ["ASSET_MATERIALIZATION", "STEP_OUTPUT", "ASSET_CHECK_EVALUATION"]
_READ = "SELECT id, {column} FROM {table} WHERE {those}"
_PUT = "UPDATE {table} SET {column} = %s WHERE id = %s"
_RUNS = """
SELECT run_id, run_body FROM runs WHERE run_id IN
    (SELECT run_id FROM run_tags WHERE key = ANY(%s) AND value = ANY(%s)) FOR UPDATE
"""
_PUT_RUN = "UPDATE runs SET run_body = %s WHERE run_id = %s"
_UNTAG = "DELETE FROM run_tags WHERE run_id = %s AND key = ANY(%s)"
_BATCH = 200
_ID = re.compile(r"[A-Za-z0-9_-]+")  # a trace id, or what cannot be one


async def forget_in_dagster(dsn: str, ids: Collection[str], *, timeout_s: float) -> int | None:
    """Take out whatever names one of `ids`, trace ids with what else they are known by; how many of
    its records that changed.  None when Dagster keeps nothing there.

    The whole preview goes that shows a row of one of them: a row has its trace id and texts.
    Doing so again changes nothing.  Raises PartUnavailable(part="dagster").
    """
    return await in_dagster(dsn, partial(_forget, ids=frozenset(ids)), timeout_s=timeout_s)


async def _forget(pool: PostgresPool, *, ids: frozenset[str]) -> int | None:
    async with pool.transaction() as connection:
        there = await (await connection.execute(THERE)).fetchone()
        if there is None or not there[0]:
            return None
        changed = await _untag(connection, ids)
        for table, column, those in _TOLD:
            changed += await _take_out(connection, table, column, those, ids)
        return changed


async def _untag(connection: Connection, ids: frozenset[str]) -> int:
    """Both ids from the runs that were of one exchange; a run has its tags twice."""
    runs = await (await connection.execute(_RUNS, (_TAGS, list(ids)))).fetchall()
    for run_id, body in runs:
        run = json.loads(body)
        run["tags"] = {key: value for key, value in run["tags"].items() if key not in _TAGS}
        await connection.execute(_PUT_RUN, (json.dumps(run), run_id))
        await connection.execute(_UNTAG, (run_id, _TAGS))
    return len(runs)


async def _take_out(
    connection: Connection, table: str, column: str, those: str, ids: frozenset[str]
) -> int:
    names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
    read = sql.SQL(_READ).format(**names, those=sql.SQL(those))
    put = sql.SQL(_PUT).format(**names)
    changed = 0
    async with connection.cursor(name=f"forget_{table}") as cursor:
        await cursor.execute(read, {"types": _TYPES})
        while rows := await cursor.fetchmany(_BATCH):
            for number, text in rows:
                if _names(text, ids):
                    told = _without(json.loads(text), ids)
                    await connection.execute(put, (json.dumps(told), number))
                    changed += 1
    return changed


def _names(text: str, ids: frozenset[str]) -> bool:
    return not ids.isdisjoint(_ID.findall(text))


def _without(told: Any, ids: frozenset[str]) -> Any:
    """`told`, where no text names one of `ids`."""
    if isinstance(told, dict):
        return {key: _without(value, ids) for key, value in told.items()}
    if isinstance(told, list):
        return [_without(value, ids) for value in told]
    return INSTEAD if isinstance(told, str) and _names(told, ids) else told
