"""The runs of Dagster that exchanges took part in, as `appliance trace` tells them.

Which they were is in our own table; what became of them Dagster's own database says, as long as it
keeps them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.cli.common import counted
from appliance.cli.terminal import WIDTH, flat, wrapped
from appliance.config.dagster_home import postgres_dsn
from appliance.config.schema import Config
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.envelope import rfc3339
from appliance.domain.events.trace import Traced, TracedRun
from appliance.infra.postgres.dagster_runs import DagsterRun, dagster_runs
from appliance.infra.postgres.pipeline_runs import RunRow, runs_of
from appliance.infra.postgres.pool import PostgresPool

MOST_RUNS = 20  # told of one exchange, the latest
HEAD = ("run", "job", "asset", "began", "state", "rows", "")
_SHORT = 8  # characters of a run id that tell it from others
_WIDTH = WIDTH - 2
_INDENT = 2 + _SHORT
_NOTHING = "Dagster keeps nothing in its database: what became of its runs is not known"


@dataclass(frozen=True, slots=True)
class Runs:
    """By trace id; an exchange that is not there took part in none.  `unseen`: what could not be
    looked at, in sentences."""

    of: Mapping[str, tuple[TracedRun, ...]] = field(default_factory=dict)
    unseen: Sequence[str] = ()


async def find_runs(pool: PostgresPool, config: Config, trace_ids: Sequence[str], web: str) -> Runs:
    """Of these exchanges; `web` is the base of Dagster's web server, "" while there is none.

    Raises PartUnavailable when our own table cannot be read; without Dagster's database the runs
    are told as far as we know them."""
    rows = await runs_of(pool, trace_ids)
    known, unseen = await _known(config, sorted({row.run_id for row in rows}))
    found: dict[str, list[TracedRun]] = {}
    for row in rows:
        found.setdefault(row.trace_id, []).append(_run(row, known.get(row.run_id), web))
    return Runs({trace_id: tuple(runs) for trace_id, runs in found.items()}, unseen)


async def _known(
    config: Config, run_ids: Sequence[str]
) -> tuple[Mapping[str, DagsterRun], list[str]]:
    if not run_ids:
        return {}, []
    try:
        found = await dagster_runs(postgres_dsn(config), run_ids)
    except (PartUnavailable, ConfigError) as exc:
        return {}, [str(exc)]
    return ({}, [_NOTHING]) if found is None else (found, [])


def _run(row: RunRow, known: DagsterRun | None, web: str) -> TracedRun:
    ended = known.ended_at if known else None
    materialised = known.materialised.get(row.asset) if known else None
    return TracedRun(
        run_id=row.run_id,
        job=row.job,
        asset=row.asset,
        subject=row.subject,
        began_at=rfc3339(row.began_at),
        status=known.status if known else "",
        ended_at="" if ended is None else rfc3339(ended),
        materialised_at="" if materialised is None else rfc3339(materialised),
        events=row.events,
        rows_written=row.inserted,
        rows_already_there=row.offered - row.inserted,
        url=f"{web}/runs/{row.run_id}" if web else "",
    )


def lines(traced: Traced) -> Iterator[str]:
    """A line a run, under it one an asset and its page; a sentence when there is nothing."""
    found = traced.runs or ()
    if not found:
        yield from wrapped(nothing(traced), _WIDTH)
    for run_id in list(dict.fromkeys(run.run_id for run in found))[:MOST_RUNS]:
        parts = [run for run in found if run.run_id == run_id]
        began = min(run.began_at for run in parts)[:19]
        yield from wrapped(f"{run_id[:_SHORT]}  {parts[0].job}  {began}  {state(parts[0])}", _WIDTH)
        for run in parts:
            said = f"{flat(run.asset):<18}{counts(run)}, {materialised(run)}"
            yield from (" " * _INDENT + line for line in wrapped(said, _WIDTH - _INDENT))
        if parts[0].url:
            yield from (" " * _INDENT + line for line in wrapped(parts[0].url, _WIDTH - _INDENT))
    if (more := len({run.run_id for run in found}) - MOST_RUNS) > 0:
        yield f"… and {more} more"


def cells(run: TracedRun) -> tuple[str, ...]:
    """Of a row that tells it, as HEAD names them."""
    began = run.began_at[:19]
    return (
        run.run_id[:_SHORT],
        run.job,
        run.asset,
        began,
        state(run),
        counts(run),
        materialised(run),
    )


def state(run: TracedRun) -> str:
    """Dagster's word for it."""
    return run.status.lower() or "state not known"


def counts(run: TracedRun) -> str:
    """What its batch was."""
    rows = f"{counted(run.rows_written, 'row')} written, {run.rows_already_there} already there"
    return f"{counted(run.events, 'event')}: {rows}"


def materialised(run: TracedRun) -> str:
    """When, as far as Dagster knows the run."""
    if run.materialised_at:
        return f"materialised {run.materialised_at[11:19]}"
    return "not materialised" if run.status else "materialisation not known"


def nothing(traced: Traced) -> str:
    """That no run is known, and no more than is known of who took its events instead."""
    if traced.runs is None:
        return "not looked at"
    consumers = {durable.name for durable in DURABLES.values()}
    written = [event for event in traced.events if event.rows and event.subject in DURABLES]
    if written and all(event.acked and event.consumer in consumers for event in written):
        return "no run of Dagster has recorded it: the consumer took its events"
    return "no run of Dagster has recorded it"
