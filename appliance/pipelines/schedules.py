"""What no event starts: vectors that could not be made, the training data, and housekeeping.

Each looks first, and says why there is nothing to do.
"""

import asyncio
import time
from datetime import datetime

import dagster as dg

from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.entrypoints.retention import wanted
from appliance.infra.nats.lag import read_lag
from appliance.infra.nats.reader.range import visit
from appliance.infra.postgres.pair_vectors import waiting
from appliance.pipelines.assets_dataset import is_current
from appliance.pipelines.housekeeping import (
    KEEP_IDLE_TICKS_S,
    cutoff,
    delete_idle_ticks,
    old_runs,
    surplus_runs,
)
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.sensors import under_way
from appliance.pipelines.table import DATASET_JOB, HOUSEKEEPING_JOB, PAIR_JOB

Ticked = dg.SkipReason | dg.RunRequest
NOTHING = "no run since the last one, no old run or row, and no event waits"


def schedules() -> list[dg.ScheduleDefinition]:
    """All of them, in UTC."""
    return [_pairs(), _dataset(), _housekeeping()]


def _pairs() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{PAIR_JOB}_schedule",
        job_name=PAIR_JOB,
        cron_schedule="7 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Pairs that got no vector while the inference role was away.",
    )
    def pairs(
        context: dg.ScheduleEvaluationContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> Ticked:
        try:
            count = asyncio.run(_pairs_waiting(appliance))
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        if not count:
            return dg.SkipReason("no pair waits for its vector")
        return _unless_under_way(context, PAIR_JOB)

    return pairs


def _dataset() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{DATASET_JOB}_schedule",
        job_name=DATASET_JOB,
        cron_schedule="47 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The training data, once a day.",
    )
    def dataset(
        context: dg.ScheduleEvaluationContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> Ticked:
        try:
            current = asyncio.run(is_current(appliance))
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        if current:
            return dg.SkipReason("no pair and no rating is newer than the last manifest")
        return _unless_under_way(context, DATASET_JOB)

    return dataset


def _housekeeping() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{HOUSEKEEPING_JOB}_schedule",
        job_name=HOUSEKEEPING_JOB,
        cron_schedule="27 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Old runs, old rows, and every asset check.",
    )
    def housekeeping(
        context: dg.ScheduleEvaluationContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> Ticked:
        # Here and not in a run: at rest there is none, and these alone are worth none.
        delete_idle_ticks(context.instance, time.time() - KEEP_IDLE_TICKS_S)
        try:
            due = _housekeeping_due(context.instance, appliance)
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        return _unless_under_way(context, HOUSEKEEPING_JOB) if due else dg.SkipReason(NOTHING)

    return housekeeping


def _unless_under_way(context: dg.ScheduleEvaluationContext, job: str) -> Ticked:
    if run_id := under_way(context.instance, job):
        return dg.SkipReason(f"a run is at work: {run_id}")
    return dg.RunRequest()


async def _pairs_waiting(appliance: ApplianceResource) -> int:
    config = appliance.config()
    async with appliance.pool(config) as pool:
        return await waiting(pool)


def _housekeeping_due(instance: dg.DagsterInstance, appliance: ApplianceResource) -> bool:
    """Is there something to delete, or something the checks have not seen?"""
    config = appliance.config()
    if wanted(config.retention) or _ran_since_the_last(instance):
        return True
    if old_runs(instance, cutoff(config.dagster.keep_runs_days, time.time()), 1):
        return True
    if surplus_runs(instance, config.dagster.keep_runs, 1):
        return True
    return asyncio.run(_events_wait(appliance))


def _ran_since_the_last(instance: dg.DagsterInstance) -> bool:
    done = dg.RunsFilter(job_name=HOUSEKEEPING_JOB, statuses=[dg.DagsterRunStatus.SUCCESS])
    last = instance.get_run_records(done, limit=1)
    since: datetime | None = last[0].create_timestamp if last else None
    newer = instance.get_run_records(dg.RunsFilter(created_after=since), limit=2)
    return any(record.dagster_run.job_name != HOUSEKEEPING_JOB for record in newer)


async def _events_wait(appliance: ApplianceResource) -> bool:
    """For every driver of their subject; nobody knows while NATS is away."""
    try:
        async with visit(appliance.config().nats) as client:
            lags = await read_lag(client, time.time)
    except PartUnavailable:
        return False
    return any(lag.pending + lag.unacked for lag in lags)
