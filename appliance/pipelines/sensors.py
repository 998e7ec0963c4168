"""A sensor a subject: what waits on its durable consumer becomes one run of its job.

Asks JetStream alone, every five seconds; PostgreSQL only once something waits.  It pulls and acks
nothing: a run does, and one that dies leaves its messages waiting.
"""

import asyncio

import dagster as dg

from appliance.domain.errors import ApplianceError
from appliance.infra.nats.consumer.backlog import Backlog, backlog
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


def sensors() -> list[dg.SensorDefinition]:
    """One a row of SUBJECTS."""
    return [_sensor(subject) for subject in SUBJECTS]


def under_way(instance: dg.DagsterInstance, job: str) -> str:
    """The id of a run of `job` that waits or is at work; "" when there is none."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY)), limit=1)
    return runs[0].run_id if runs else ""


def _sensor(subject: Subject) -> dg.SensorDefinition:
    @dg.sensor(
        name=subject.sensor,
        job_name=subject.job,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts `{subject.job}` when events of `{subject.name}` wait on the durable "
        f"consumer `{subject.durable.name}`.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> dg.SkipReason | dg.RunRequest:
        try:
            waiting = asyncio.run(_asked(appliance, subject))
        except ApplianceError as exc:
            return dg.SkipReason(str(exc))
        if why := _nothing_to_do(waiting):
            return dg.SkipReason(why)
        if run_id := under_way(context.instance, subject.job):
            return dg.SkipReason(f"a run is at work: {run_id}")
        return dg.RunRequest()

    return sensor


async def _asked(appliance: ApplianceResource, subject: Subject) -> Backlog:
    config = appliance.config()
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
