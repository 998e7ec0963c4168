"""The jobs: which assets a run makes, the checks of these assets with them.

All in one process: an op is a few statements, and a process of its own for each would cost more
than its work.  No `dagster/max_retries`: what a dead run had pulled is delivered again, and its
sensor starts the next one.
"""

from typing import Any

import dagster as dg

from appliance.domain.events.chat import PERSIST
from appliance.pipelines.table import (
    BACKFILL_JOB,
    CHAT_PAIR_DATASET,
    CHAT_PAIR_RECORD,
    DATASET_JOB,
    KNOWLEDGE_EVENTS,
    PAIR_JOB,
    SUBJECT_TAG,
    SUBJECTS,
    Subject,
)

Job = dg.JobDefinition | Any  # what define_asset_job gives has no public name


def asset_jobs() -> list[Job]:
    """A job a subject, and those no event starts."""
    return [*(_subject_job(subject) for subject in SUBJECTS), _pairs(), _dataset(), _backfill()]


def _subject_job(subject: Subject) -> Job:
    return dg.define_asset_job(
        subject.job,
        dg.AssetSelection.assets(subject.asset, *subject.then),
        description=f"Takes what waits of `{subject.name}` and makes it rows.",
        tags={SUBJECT_TAG: subject.name},
    )


def _pairs() -> Job:
    return dg.define_asset_job(
        PAIR_JOB,
        dg.AssetSelection.assets(CHAT_PAIR_RECORD, KNOWLEDGE_EVENTS),
        description="Gives the pairs that wait for it their vector.",
        tags={SUBJECT_TAG: PERSIST},
    )


def _dataset() -> Job:
    return dg.define_asset_job(
        DATASET_JOB,
        dg.AssetSelection.assets(CHAT_PAIR_DATASET),
        description="Writes the training data anew: JSONL, Parquet and a manifest.",
    )


def _backfill() -> Job:
    return dg.define_asset_job(
        BACKFILL_JOB,
        dg.AssetSelection.assets(*(subject.asset for subject in SUBJECTS)),
        description="Writes all events of a time range again that are still in the stream: "
        "`since` and `until` are times (2026-11-21T14:00:00Z) or ages (2h).",
        config=_window(),
    )


def _window() -> dg.ConfigMapping:
    """One time range for all the assets of the job."""

    @dg.config_mapping(
        config_schema={
            "since": dg.Field(str, description="2026-11-21T14:00:00Z, or an age like 2h"),
            # Not empty: without both the assets would take what waits, and ack it.
            "until": dg.Field(str, default_value="0s", description="In the same words"),
        }
    )
    def window(value: dict[str, str]) -> dict[str, Any]:
        return {"ops": {subject.asset: {"config": value} for subject in SUBJECTS}}

    return window
