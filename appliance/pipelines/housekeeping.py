"""`dagster_housekeeping`: old runs of Dagster, old rows of the appliance, and every check at once.

Deleted of Dagster are runs that ended more than `[dagster] keep_runs_days` ago, and the oldest of
more than `keep_runs`, with their events, logs and check results; never one that is at work, nor one
that holds the newest materialisation of an asset.

`[retention]` is done whether or not a consumer role does it too: two at once delete the same rows,
and deleting twice changes nothing.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import ColumnElement, func, select

from appliance.entrypoints.retention import wanted
from appliance.infra.postgres.retention import prune
from appliance.pipelines.checks import IN_STREAM_S, findings
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.steps import done
from appliance.pipelines.table import HOUSEKEEPING_JOB, SUBJECTS

MOST_RUNS = 5000  # an hour; what is left goes with the next
PAGE_RUNS = 200
ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
# Days after it was made: a daemon died between making and starting it.
ABANDONED = dg.DagsterRunStatus.NOT_STARTED
KEEP_IDLE_TICKS_S = 7200.0
_DAY_S = 86_400.0


def housekeeping_job() -> dg.JobDefinition:
    """Three ops, none of which waits for another: what fails in one holds up no other, and none is
    tried again before the next hour."""

    @dg.job(
        name=HOUSEKEEPING_JOB,
        description="Deletes old runs and old rows, and asks every asset check.",
        executor_def=dg.in_process_executor,
    )
    def housekeeping() -> None:
        _delete_old_runs()
        _apply_retention()
        _check_everything()

    return housekeeping


def cutoff(keep_days: int, now: float) -> datetime:
    """Runs that began before it are old."""
    return datetime.fromtimestamp(now - keep_days * _DAY_S, UTC)


def old_runs(instance: dg.DagsterInstance, before: datetime, limit: int) -> list[str]:
    """Up to `limit` ids of runs from before then that may be deleted, oldest first."""
    statuses = [*ENDED, ABANDONED]
    old = dg.RunsFilter(statuses=statuses, updated_before=before, created_before=before)
    return _deletable(instance, old, limit)


def surplus_runs(instance: dg.DagsterInstance, keep: int, limit: int) -> list[str]:
    """Up to `limit` ids of the runs that are too many beside `keep` of them, oldest first."""
    too_many = min(limit, instance.get_runs_count() - keep)
    return _deletable(instance, dg.RunsFilter(statuses=list(ENDED)), too_many)


def runs_to_keep(instance: dg.DagsterInstance) -> set[str]:
    """Those that hold the newest materialisation of an asset."""
    records = instance.get_asset_records(list(instance.all_asset_keys()))
    newest = [record.asset_entry.last_materialization_record for record in records]
    return {event.run_id for event in newest if event is not None}


def delete_runs(instance: dg.DagsterInstance, before: datetime, keep: int) -> int:
    """How many were deleted, one after the other: old ones, then those that are too many."""
    gone = _delete(instance, old_runs(instance, before, MOST_RUNS))
    return gone + _delete(instance, surplus_runs(instance, keep, MOST_RUNS - gone))


def delete_idle_ticks(instance: dg.DagsterInstance, before: float) -> None:
    """Those of sensors that asked for nothing and began before then, in Unix seconds.

    Seven sensors leave 120 000 a day, 190 MB, which say nothing any more; Dagster itself counts in
    days.
    """
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        instance.purge_ticks(
            state.instigator_origin_id, state.selector_id, before, [TickStatus.SKIPPED]
        )


def delete_check_results(instance: dg.DagsterInstance, before: datetime) -> int:
    """How many; the newest of each check stays.  Dagster deletes none, not even with their run."""
    # Dagster writes times of UTC without a zone.
    then = before.astimezone(UTC).replace(tzinfo=None)
    return _delete_results(instance, AssetCheckExecutionsTable.c.evaluation_event_timestamp < then)


def _deletable(instance: dg.DagsterInstance, filters: dg.RunsFilter, limit: int) -> list[str]:
    """Of the runs that `filters` let through."""
    if limit <= 0:
        return []
    kept = runs_to_keep(instance)
    found: list[str] = []
    cursor = None
    while len(found) < limit:
        page = instance.get_run_records(filters, limit=PAGE_RUNS, cursor=cursor, ascending=True)
        if not page:
            break
        cursor = page[-1].dagster_run.run_id
        found += [r.dagster_run.run_id for r in page if r.dagster_run.run_id not in kept]
    return found[:limit]


def _delete(instance: dg.DagsterInstance, runs: Sequence[str]) -> int:
    """Logs and check results go first: what is interrupted is found again by its run."""
    for start in range(0, len(runs), PAGE_RUNS):
        page = runs[start : start + PAGE_RUNS]
        _delete_results(instance, AssetCheckExecutionsTable.c.run_id.in_(page))
        for run_id in page:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
    return len(runs)


def _delete_results(instance: dg.DagsterInstance, which: ColumnElement[bool]) -> int:
    """Check results, but not the newest of a check."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    columns = AssetCheckExecutionsTable.c
    newest = select(func.max(columns.id)).group_by(columns.asset_key, columns.check_name)
    with storage.index_connection() as connection:
        deleted = connection.execute(
            AssetCheckExecutionsTable.delete().where(which, columns.id.not_in(newest))
        )
        return int(deleted.rowcount)


@dg.op(name="delete_old_runs")
def _delete_old_runs(
    context: dg.OpExecutionContext, appliance: dg.ResourceParam[ApplianceResource]
) -> None:
    config = appliance.config().dagster
    before = cutoff(config.keep_runs_days, time.time())
    runs = delete_runs(context.instance, before, config.keep_runs)
    results = delete_check_results(context.instance, before)
    context.log.info(
        f"deleted {runs} runs, from before {before} or beside {config.keep_runs}, with all of "
        f"theirs, and {results} check results"
    )


@dg.op(name="apply_retention")
def _apply_retention(
    context: dg.OpExecutionContext, appliance: dg.ResourceParam[ApplianceResource]
) -> None:
    rows = done(_pruned(appliance))
    context.log.info(f"deleted rows: {rows}" if rows else "[retention] keeps everything")


@dg.op(name="check_everything", out={})
def _check_everything(
    appliance: dg.ResourceParam[ApplianceResource],
) -> Iterator[dg.AssetCheckEvaluation]:
    for found in done(findings(appliance, SUBJECTS, IN_STREAM_S)):
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey.from_coercible(found.asset_key or ""),
            check_name=found.check_name or "",
            passed=found.passed,
            severity=found.severity,
            description=found.description,
            metadata=found.metadata,
        )


async def _pruned(appliance: ApplianceResource) -> dict[str, int]:
    config = appliance.config()
    if not wanted(config.retention):
        return {}
    async with appliance.pool(config) as pool:
        return await prune(pool, config.retention, time.time())
