"""The event assets: one factory over SUBJECTS.  A run of one takes what waits of its subject and
makes it rows, with the writers of the consumer role.

The run pulls, commits, and then acks: one that dies redelivers.  What it did is in `pipeline_runs`
with every commit, and in the metadata of the materialisation.  With `since` the events of a time
range still in the stream are written again, whoever consumed them, and nothing is acked.
"""

import time

import dagster as dg
from pydantic import Field

from appliance.config.schema import Config
from appliance.domain.events.delivery import BatchWriter
from appliance.domain.instants import instant
from appliance.infra.nats.consumer.backfill import backfill
from appliance.infra.nats.consumer.drain import drain
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.postgres.pipeline_runs import RunPart, record
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from appliance.pipelines.metadata import Metadata, of_drained, of_table
from appliance.pipelines.resources import ApplianceResource, as_dagster_consumes
from appliance.pipelines.steps import RETRY, done
from appliance.pipelines.table import SUBJECTS, Subject

GROUP = "events"
KINDS = {"nats", "postgres"}


class Window(dg.Config):
    """A time range still in the stream, to be written again; empty: what waits."""

    since: str = Field(
        default="",
        description="From when on: 2026-11-21T14:00:00Z, or an age like 2h.  Empty: what waits.",
    )
    until: str = Field(
        default="", description="To when, in the same words.  Empty: now.  Needs `since`."
    )

    def read(self, now: float) -> tuple[float, float] | None:
        """Unix seconds; None for what waits.  Raises dg.Failure with what to write instead."""
        if not self.since and not self.until:
            return None
        try:
            if not self.since:
                raise ValueError("`since` is missing: the range would have no beginning")
            since = instant(self.since, now)
            until = instant(self.until, now) if self.until else now
            if until <= since:
                raise ValueError(f"the range from {self.since} to {self.until} is empty")
        except ValueError as exc:
            raise dg.Failure(str(exc), allow_retries=False) from None
        return since, until


def event_assets() -> list[dg.AssetsDefinition]:
    """One a row of SUBJECTS."""
    return [_event_asset(subject) for subject in SUBJECTS]


def part_of(context: dg.AssetExecutionContext, subject: str, began_at: float) -> RunPart:
    """This asset of this run, for `pipeline_runs`."""
    asset = context.asset_key.to_user_string()
    return RunPart(context.run.run_id, context.run.job_name, asset, subject, began_at)


def _event_asset(subject: Subject) -> dg.AssetsDefinition:
    @dg.asset(
        name=subject.asset,
        description=f"{subject.description}  From `{subject.name}`.",
        group_name=GROUP,
        kinds=KINDS,
        retry_policy=RETRY,
    )
    def event_asset(
        context: dg.AssetExecutionContext,
        config: Window,
        appliance: dg.ResourceParam[ApplianceResource],
    ) -> dg.MaterializeResult[None]:
        now = time.time()
        window = config.read(now)
        part = part_of(context, subject.name, now)
        drained, metadata = done(_write(appliance, subject, part, window))
        _tag(context, drained)
        return dg.MaterializeResult(metadata=metadata)

    return event_asset


async def _write(
    appliance: ApplianceResource,
    subject: Subject,
    part: RunPart,
    window: tuple[float, float] | None,
) -> tuple[Drained, Metadata]:
    config = appliance.config()
    async with appliance.pool(config) as pool:
        writer = writer_for(subject.name, pool)
        drained = await _drained(config, subject, writer, pool, part, window)
        metadata = of_drained(drained, subject.tables)
        return drained, metadata | await of_table(pool, config, subject.tables[0])


async def _drained(
    config: Config,
    subject: Subject,
    writer: BatchWriter,
    pool: PostgresPool,
    part: RunPart,
    window: tuple[float, float] | None,
) -> Drained:
    """All that waits, or all of `window`; every batch in `pipeline_runs` before its acks."""

    async def settled(batch: Drained) -> None:
        written = batch.written
        await record(
            pool,
            part,
            batch.sequences,
            events=batch.events,
            inserted=sum(written.inserted.values()),
            offered=sum(written.offered.values()),
            occurred=_occurred(batch),
        )

    if window is not None:
        since, until = window
        return await backfill(
            config.nats, subject.durable, writer, since=since, until=until, settled=settled
        )
    return await drain(
        config.nats,
        subject.durable,
        writer,
        consumer=as_dagster_consumes(config),
        most_events=config.dagster.run_events,
        settled=settled,
    )


def _occurred(batch: Drained) -> tuple[str, str] | None:
    return (batch.oldest, batch.newest) if batch.oldest and batch.newest else None


def _tag(context: dg.AssetExecutionContext, drained: Drained) -> None:
    """Both ids on a run that was one exchange's.  What an earlier try did is not known any more, so
    that one that was tried again says nothing."""
    if drained.exchange is None or context.retry_number:
        return
    trace_id, correlation_id = drained.exchange
    tags = {"trace_id": trace_id, "correlation_id": correlation_id}
    context.instance.add_run_tags(context.run.run_id, tags)
