"""`dagster_housekeeping`: old runs of Dagster, old rows of the appliance, and every check at once.

Deleted of Dagster are runs that ended more than `[dagster] keep_runs_days` ago, with their events,
logs and check results; never one that is at work, nor one that holds the newest materialisation of
an asset.  `[retention]` is done whether or not a consumer role does it too: two at once delete the
same rows, and deleting twice changes nothing.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import func, select

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
    dg.DagsterRunStatus.NOT_STARTED,  # a daemon died between making and starting it
)
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
    """Up to `limit` ids of runs that may be deleted, oldest first."""
    kept = runs_to_keep(instance)
    found: list[str] = []
    cursor = None
    filters = dg.RunsFilter(statuses=list(ENDED), updated_before=before, created_before=before)
    while len(found) < limit:
        page = instance.get_run_records(filters, limit=PAGE_RUNS, cursor=cursor, ascending=True)
        if not page:
            break
        cursor = page[-1].dagster_run.run_id
        found += [r.dagster_run.run_id for r in page if r.dagster_run.run_id not in kept]
    return found[:limit]


def runs_to_keep(instance: dg.DagsterInstance) -> set[str]:
    """Those that hold the newest materialisation of an asset."""
    records = instance.get_asset_records(list(instance.all_asset_keys()))
    newest = [record.asset_entry.last_materialization_record for record in records]
    return {event.run_id for event in newest if event is not None}


def delete_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """How many were deleted.  Logs go first: one that is interrupted is found again by its run."""
    gone = old_runs(instance, before, MOST_RUNS)
    for run_id in gone:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return len(gone)


def delete_check_results(instance: dg.DagsterInstance, before: datetime) -> int:
    """How many; the newest of each check stays.  Dagster deletes none, not even with their run."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    results = AssetCheckExecutionsTable
    columns = results.c
    newest = select(func.max(columns.id)).group_by(columns.asset_key, columns.check_name)
    # Dagster writes times of UTC without a zone.
    old = columns.evaluation_event_timestamp < before.astimezone(UTC).replace(tzinfo=None)
    with storage.index_connection() as connection:
        deleted = connection.execute(results.delete().where(old, columns.id.not_in(newest)))
        return int(deleted.rowcount)


@dg.op(name="delete_old_runs")
def _delete_old_runs(
    context: dg.OpExecutionContext, appliance: dg.ResourceParam[ApplianceResource]
) -> None:
    before = cutoff(appliance.config().dagster.keep_runs_days, time.time())
    runs = delete_runs(context.instance, before)
    results = delete_check_results(context.instance, before)
    context.log.info(f"deleted {runs} runs and {results} check results from before {before}")


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
