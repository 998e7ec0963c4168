"""The asset checks: no row twice, no node of the lineage without what it refers to, and no event
that waits too long.

Those of an asset run in its job, over what occurred lately; `dagster_housekeeping` runs all of them
over what is still in the stream.  None stops an asset: what they find is for somebody to look at.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import msgspec

from appliance.config.schema import Config, RetentionConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.durables import DURABLES
from appliance.infra.nats.lag import read_lag
from appliance.infra.nats.reader.range import visit
from appliance.infra.nats.streams import HOUR_S
from appliance.infra.postgres.event_checks import (
    chats_without_lineage,
    duplicates,
    lineage_orphans,
)
from appliance.infra.postgres.pool import PostgresPool
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.steps import done
from appliance.pipelines.table import FLOW_LINEAGE, SUBJECTS, Subject

LATELY_S = HOUR_S  # in the job of an asset
IN_STREAM_S = 72 * HOUR_S
_DAY_S = 24 * HOUR_S
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says; `wrong` is a sentence, "" when all is well."""

    wrong: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check looks at: rows of events since `since`, Unix seconds."""

    pool: PostgresPool
    config: Config
    subject: Subject
    since: float
    now: float


@dataclass(frozen=True, slots=True)
class Check:
    """`severity` is that of a finding: an error is wrong data, a warning late data."""

    name: str
    description: str
    severity: dg.AssetCheckSeverity
    ask: Callable[[Asked], Awaitable[Finding]]


async def _no_duplicates(asked: Asked) -> Finding:
    found = {
        table: await duplicates(asked.pool, table, asked.since) for table in asked.subject.tables
    }
    wrong = [f"{count} rows of {table} are there again" for table, count in found.items() if count]
    return Finding("; ".join(wrong), found)


async def _no_orphans(asked: Asked) -> Finding:
    grace_s = asked.config.dagster.freshness_s
    orphans = await lineage_orphans(asked.pool, asked.since, grace_s)
    if not orphans:
        return Finding("", {"orphans": 0})
    shown = [f"{o.trace_id} {o.node_id} lacks {o.missing}" for o in orphans[:_SHOWN]]
    wrong = f"{len(orphans)} nodes lack a parent or the row they tell of"
    return Finding(wrong, {"orphans": len(orphans), "first": shown})


async def _whole(asked: Asked) -> Finding:
    grace_s = asked.config.dagster.freshness_s
    lacking = await chats_without_lineage(asked.pool, asked.since, grace_s)
    wrong = f"{len(lacking)} chats have no lineage" if lacking else ""
    return Finding(wrong, {"chats": len(lacking), "first": lacking[:_SHOWN]})


async def _fresh(asked: Asked) -> Finding:
    try:
        async with visit(asked.config.nats) as client:
            (lag,) = await read_lag(client, time.time, [DURABLES[asked.subject.name]])
    except PartUnavailable as exc:
        return Finding(f"nobody knows: {exc}")
    age_s, waiting = lag.oldest_age_s, lag.pending + lag.unacked
    most_s = asked.config.dagster.freshness_s
    late = f"{waiting} events wait, the oldest for {age_s:.0f} s, and {most_s:.0f} s are the limit"
    found = {"waiting": waiting, "oldest_s": round(age_s, 1), "limit_s": most_s}
    return Finding(late if age_s > most_s else "", found)


_OF_EVERY: Sequence[Check] = (
    Check(
        "no_duplicates",
        "No event is a row twice: by trace id in `chat_pairs`, by event id or node elsewhere.",
        dg.AssetCheckSeverity.ERROR,
        _no_duplicates,
    ),
    Check(
        "fresh",
        "No event waits longer than `[dagster] freshness_s` to become a row.",
        dg.AssetCheckSeverity.WARN,
        _fresh,
    ),
)
# Beside those of every event asset.
_OF: Mapping[str, Sequence[Check]] = {
    FLOW_LINEAGE: (
        Check(
            "no_orphans",
            "Every node has its parents, and the row of what it tells.",
            dg.AssetCheckSeverity.ERROR,
            _no_orphans,
        ),
        Check(
            "every_chat",
            "Every chat has its lineage.",
            dg.AssetCheckSeverity.WARN,
            _whole,
        ),
    ),
}


def checks_of(subject: Subject) -> Sequence[Check]:
    """In the order they are asked."""
    return (*_OF_EVERY, *_OF.get(subject.asset, ()))


def asset_checks() -> list[dg.AssetChecksDefinition]:
    """One step an asset, whatever it has of them: a step costs more than a check."""
    return [_asset_checks(subject) for subject in SUBJECTS]


async def findings(
    appliance: ApplianceResource, subjects: Sequence[Subject], back_s: float
) -> list[dg.AssetCheckResult]:
    """Every check of `subjects` over the last `back_s` seconds.  Raises PartUnavailable when
    PostgreSQL is away."""
    config, now = appliance.config(), time.time()
    since = now - min(back_s, _kept_s(config.retention))
    async with appliance.pool(config) as pool:
        return [
            _result(subject, check, await check.ask(Asked(pool, config, subject, since, now)))
            for subject in subjects
            for check in checks_of(subject)
        ]


def _asset_checks(subject: Subject) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{subject.asset}_checks",
        specs=[
            dg.AssetCheckSpec(check.name, asset=subject.asset, description=check.description)
            for check in checks_of(subject)
        ],
    )
    def run_checks(appliance: dg.ResourceParam[ApplianceResource]) -> Iterator[dg.AssetCheckResult]:
        yield from done(findings(appliance, [subject], LATELY_S))

    return run_checks


def _result(subject: Subject, check: Check, found: Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not found.wrong,
        asset_key=subject.asset,
        check_name=check.name,
        severity=check.severity,
        description=found.wrong or None,
        metadata=found.metadata,
    )


def _kept_s(retention: RetentionConfig) -> float:
    """How far back every row is still there, with an hour to spare: what `[retention]` removed
    from one table and not yet from another is missing nowhere."""
    days = [count for count in msgspec.structs.asdict(retention).values() if count]
    return min(days) * _DAY_S - HOUR_S if days else IN_STREAM_S
