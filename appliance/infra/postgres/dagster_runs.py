"""What Dagster's own database says of runs: state, times, materialisations.  Plain SQL, read only.
For `appliance trace`, which must not import Dagster.

The tables are Dagster's; tests/integration/infra/postgres/test_dagster_runs.py holds this to the
release that is installed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from appliance.domain.errors import PartUnavailable
from appliance.infra.postgres.pool import PostgresPool

T = TypeVar("T")
_TIMEOUT_S = 5.0
THERE = "SELECT to_regclass('runs') IS NOT NULL AND to_regclass('event_logs') IS NOT NULL"
_RUNS = """
SELECT run_id, status, start_time::float8, end_time::float8 FROM runs WHERE run_id = ANY(%s)
"""
# Its times are of UTC, without a zone.
_MATERIALISED = """
SELECT run_id, asset_key, extract(epoch FROM max(timestamp))::float8 FROM event_logs
WHERE run_id = ANY(%s) AND dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key IS NOT NULL
GROUP BY run_id, asset_key
"""
_KNOWN = "SELECT FROM pg_database WHERE datname = %s"
_MAINTENANCE = "postgres"  # a database nearly every server has


@dataclass(frozen=True, slots=True)
class DagsterRun:
    """`status` in Dagster's word (`SUCCESS`, `FAILURE`, `STARTED`, …); times are Unix seconds, None
    while it has not started or ended; `materialised`: when, by asset (`chat_record`)."""

    run_id: str
    status: str
    started_at: float | None
    ended_at: float | None
    materialised: Mapping[str, float] = field(default_factory=dict)


async def dagster_runs(dsn: str, run_ids: Sequence[str]) -> dict[str, DagsterRun] | None:
    """Those of `run_ids` that Dagster still knows, by id; None when it keeps nothing there: no such
    database, or none of its tables.  Raises PartUnavailable(part="dagster")."""
    return await in_dagster(dsn, lambda pool: _read(pool, list(run_ids)), timeout_s=_TIMEOUT_S)


async def in_dagster(
    dsn: str, work: Callable[[PostgresPool], Awaitable[T | None]], *, timeout_s: float
) -> T | None:
    """What `work` comes to over Dagster's database, of which it may take `timeout_s`; None when
    there is no such database.  Raises PartUnavailable(part="dagster")."""
    try:
        async with PostgresPool(dsn, max_size=1, timeout_s=timeout_s) as pool:
            return await work(pool)
    except PartUnavailable as exc:
        if isinstance(exc.__cause__, psycopg.OperationalError) and await _missing(dsn):
            return None
        raise PartUnavailable(f"Dagster: {_said(exc)}", part="dagster") from exc
    except psycopg.Error as exc:
        raise PartUnavailable(f"Dagster: PostgreSQL: {_line(exc)}", part="dagster") from exc


async def _read(pool: PostgresPool, run_ids: list[str]) -> dict[str, DagsterRun] | None:
    async with pool.transaction() as connection:
        await connection.execute("SET TRANSACTION READ ONLY")
        there = await (await connection.execute(THERE)).fetchone()
        if there is None or not there[0]:
            return None
        runs = await (await connection.execute(_RUNS, (run_ids,))).fetchall()
        made = await (await connection.execute(_MATERIALISED, (run_ids,))).fetchall()
    materialised: dict[str, dict[str, float]] = {}
    for run_id, asset_key, at in made:
        materialised.setdefault(run_id, {})[_asset(asset_key)] = at
    return {
        run_id: DagsterRun(run_id, status, began, ended, materialised.get(run_id, {}))
        for run_id, status, began, ended in runs
    }


async def _missing(dsn: str) -> bool:
    """Does the server say that there is no such database?  Asked in another one, since the words of
    a refused connection depend on the server's language."""
    try:
        name = conninfo_to_dict(dsn).get("dbname")
        elsewhere = make_conninfo(dsn, dbname=_MAINTENANCE)
        async with (
            PostgresPool(elsewhere, max_size=1, timeout_s=_TIMEOUT_S) as pool,
            pool.transaction() as connection,
        ):
            return not await (await connection.execute(_KNOWN, (name,))).fetchall()
    except (PartUnavailable, psycopg.Error):
        return False


def _asset(key: str) -> str:
    """`chat_record` of `["chat_record"]`; a key of several parts with `/` between."""
    try:
        return "/".join(msgspec.json.decode(key, type=list[str]))
    except msgspec.DecodeError:
        return key


def _said(exc: PartUnavailable) -> str:
    """The pool's advice is for the tables of the appliance."""
    cause = exc.__cause__
    if isinstance(cause, errors.UndefinedTable | errors.UndefinedColumn | errors.UndefinedObject):
        return f"its tables are not as this release knows them: {_line(cause)}"
    return str(exc)


def _line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
