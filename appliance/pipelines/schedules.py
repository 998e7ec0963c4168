"""What no event starts: vectors that could not be made, the training data, and housekeeping.

Each looks first, and says why there is nothing to do.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.infra.nats.lag import read_lag
from appliance.infra.nats.reader.range import visit
from appliance.infra.postgres.pair_vectors import waiting
from appliance.infra.postgres.retention import due
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

NOTHING = "no run since the last one, no old run or row, and no event waits"
# What keeps a schedule from asking for its job: a sentence, "" when nothing does.
WhyNot = Callable[[dg.DagsterInstance, ApplianceResource], str]


def schedules() -> list[dg.ScheduleDefinition]:
    """All of them, in UTC; one more is one row more."""
    return [
        _schedule(
            PAIR_JOB,
            "7 * * * *",
            "Pairs that got no vector while the inference role was away.",
            _no_pair_waits,
        ),
        _schedule(DATASET_JOB, "47 3 * * *", "The training data, once a day.", _dataset_is_current),
        _schedule(
            HOUSEKEEPING_JOB,
            "27 * * * *",
            "Old runs, old rows, and every asset check.",
            _house_is_kept,
        ),
    ]


def _schedule(job: str, cron: str, description: str, why_not: WhyNot) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job}_schedule",
        job_name=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> dg.SkipReason | dg.RunRequest:
        try:
            why = why_not(context.instance, appliance)
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        if not why and (run_id := under_way(context.instance, job)):
            why = f"a run is at work: {run_id}"
        return dg.SkipReason(why) if why else dg.RunRequest()

    return schedule


def _no_pair_waits(_: dg.DagsterInstance, appliance: ApplianceResource) -> str:
    return "" if asyncio.run(_pairs_waiting(appliance)) else "no pair waits for its vector"


def _dataset_is_current(_: dg.DagsterInstance, appliance: ApplianceResource) -> str:
    current = asyncio.run(is_current(appliance))
    return "no pair and no rating is newer than the last manifest" if current else ""


def _house_is_kept(instance: dg.DagsterInstance, appliance: ApplianceResource) -> str:
    # Here and not in a run: at rest there is none, and these alone are worth none.
    delete_idle_ticks(instance, time.time() - KEEP_IDLE_TICKS_S)
    return "" if _housekeeping_due(instance, appliance) else NOTHING


async def _pairs_waiting(appliance: ApplianceResource) -> int:
    config = appliance.config()
    async with appliance.pool(config) as pool:
        return await waiting(pool)


def _housekeeping_due(instance: dg.DagsterInstance, appliance: ApplianceResource) -> bool:
    """Is there something to delete, or something the checks have not seen?"""
    config = appliance.config()
    if _ran_since_the_last(instance):
        return True
    if old_runs(instance, cutoff(config.dagster.keep_runs_days, time.time()), 1):
        return True
    if surplus_runs(instance, config.dagster.keep_runs, 1):
        return True
    return asyncio.run(_rows_are_old(appliance)) or asyncio.run(_events_wait(appliance))


def _ran_since_the_last(instance: dg.DagsterInstance) -> bool:
    done = dg.RunsFilter(job_name=HOUSEKEEPING_JOB, statuses=[dg.DagsterRunStatus.SUCCESS])
    last = instance.get_run_records(done, limit=1)
    since: datetime | None = last[0].create_timestamp if last else None
    newer = instance.get_run_records(dg.RunsFilter(created_after=since), limit=2)
    return any(record.dagster_run.job_name != HOUSEKEEPING_JOB for record in newer)


async def _rows_are_old(appliance: ApplianceResource) -> bool:
    config = appliance.config()
    async with appliance.pool(config) as pool:
        return await due(pool, config.retention, time.time())


async def _events_wait(appliance: ApplianceResource) -> bool:
    """For every driver of their subject; nobody knows while NATS is away."""
    try:
        async with visit(appliance.config().nats) as client:
            lags = await read_lag(client, time.time)
    except PartUnavailable:
        return False
    return any(lag.pending + lag.unacked for lag in lags)
