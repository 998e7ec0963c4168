"""A sensor a subject: what waits on its durable consumer becomes one run of its job.

Asks JetStream alone, every five seconds; PostgreSQL only once something waits.  It pulls and acks
nothing: a run does, and one that dies leaves its messages waiting.

What trickles in for hours is gathered: after some runs in a row there is one every `[dagster]
runs_every_s` (budget.py), or as soon as much waits.
"""

import asyncio
import math
import time

import dagster as dg

from appliance.config.schema import Config
from appliance.domain.errors import ApplianceError
from appliance.infra.nats.consumer.backlog import Backlog, backlog
from appliance.pipelines.budget import budget_in
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.table import SUBJECTS, Subject

EVERY_S = 5
# Not NOT_STARTED: a daemon that died between making a run and starting it leaves one for ever.
UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def sensors(appliance: ApplianceResource) -> list[dg.SensorDefinition]:
    """One a row of SUBJECTS.

    `appliance` is theirs without being asked for as a resource: for a sensor with resources Dagster
    makes an instance at every tick, 4 CPU-ms.
    """
    return [_sensor(subject, appliance) for subject in SUBJECTS]


def under_way(instance: dg.DagsterInstance, job: str) -> str:
    """The id of a run of `job` that waits or is at work; "" when there is none."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY)), limit=1)
    return runs[0].run_id if runs else ""


def _sensor(subject: Subject, appliance: ApplianceResource) -> dg.SensorDefinition:
    @dg.sensor(
        name=subject.sensor,
        job_name=subject.job,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts `{subject.job}` when events of `{subject.name}` wait on the durable "
        f"consumer `{subject.durable.name}`.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.RunRequest:
        try:
            config = appliance.config()
            waiting = asyncio.run(_asked(config, subject))
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        if why := _nothing_to_do(waiting):
            return dg.SkipReason(why)
        budget, now, every_s = budget_in(context.cursor), time.time(), config.dagster.runs_every_s
        due_in_s = budget.due_in_s(now, every_s)
        if due_in_s and not _is_much(waiting, config.dagster.run_events):
            return dg.SkipReason(_gathers(waiting, due_in_s))
        if run_id := under_way(context.instance, subject.job):
            return dg.SkipReason(f"a run is at work: {run_id}")
        context.update_cursor(budget.spent(now, every_s).cursor())
        return dg.RunRequest()

    return sensor


async def _asked(config: Config, subject: Subject) -> Backlog:
    return await backlog(config.nats, subject.durable, ack_wait_s=config.dagster.ack_wait_s)


def _nothing_to_do(waiting: Backlog) -> str:
    """Why; "" when a run has something to take."""
    if waiting.missing:
        return waiting.missing
    if waiting.pending or waiting.abandoned:
        return ""
    if waiting.unacked:
        return f"{waiting.unacked} events are in the hands of a run"
    return "nothing new"


def _is_much(waiting: Backlog, run_events: int) -> bool:
    """Half of what a run takes: it is worth one at once."""
    return waiting.pending * 2 >= run_events


def _gathers(waiting: Backlog, due_in_s: float) -> str:
    count = waiting.pending or waiting.unacked
    return f"{count} events wait for the next run, due in {math.ceil(due_in_s)} s"
