"""`chat_pair_dataset`: the pairs as training data, in files beside a manifest.

The export itself is that of `appliance dataset export`; this says where and reports what it says.
"""

import importlib
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec

from appliance.config.schema import Config
from appliance.domain.datasets.manifest import Exported, Manifest
from appliance.domain.errors import ConfigError
from appliance.infra.datasets.folder import dataset_folder, filters_of, manifest_of
from appliance.infra.postgres.pipeline_runs import PAIRS, RunPart, record
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.table_facts import Column, any_since, row_count
from appliance.pipelines.assets import part_of
from appliance.pipelines.metadata import (
    PREVIEW_ROWS,
    Metadata,
    markdown,
    of_rows,
    of_times,
    schema,
)
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.steps import RETRY, done
from appliance.pipelines.table import CHAT_PAIR_DATASET, CHAT_PAIR_RECORD

GROUP = "datasets"
READ = (PAIRS, "feedback")
# With numpy and pyarrow, 60 MiB: imported by the run that writes files.
_EXPORT, _PARQUET = "appliance.infra.datasets.export", "appliance.infra.datasets.parquet"


def dataset_assets() -> list[dg.AssetsDefinition]:
    """The one there is."""

    # Not `asset`: its op would have the name of the job, and Dagster wants them to differ.
    @dg.multi_asset(
        name="export_chat_pair_dataset",
        specs=[
            dg.AssetSpec(
                CHAT_PAIR_DATASET,
                deps=[CHAT_PAIR_RECORD],
                description="Prompt-response pairs as JSONL for fine-tuning and as Parquet, "
                "filtered by `[dataset]`, without duplicates, divided by hash.",
                group_name=GROUP,
                kinds={"jsonl", "parquet"},
            )
        ],
        retry_policy=RETRY,
    )
    def export_chat_pair_dataset(
        context: dg.AssetExecutionContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> dg.MaterializeResult[None]:
        part = part_of(context, PAIRS, time.time())
        return dg.MaterializeResult(metadata=done(_export(appliance, part)))

    return [export_chat_pair_dataset]


async def is_current(appliance: ApplianceResource) -> bool:
    """Was the dataset made of the pairs and ratings there are, under the rules there are?

    Pairs are counted, too: they may be late, or gone.  Whatever was forgotten must leave the files,
    also when as many came late as went.  Raises PartUnavailable, ConfigError.
    """
    config = appliance.config()
    try:
        manifest = manifest_of(_folder(appliance, config))
    except (OSError, msgspec.DecodeError):  # there is none, or one of another release
        return False
    if (manifest.filters, manifest.privacy_store) != (
        filters_of(config.dataset),
        config.privacy.store,
    ):
        return False
    made_at = datetime.fromisoformat(manifest.made_at).timestamp()
    async with appliance.pool(config) as pool:
        if await row_count(pool, PAIRS, exactly=True) != manifest.read:
            return False
        newer = [await any_since(pool, table, made_at) for table in READ]
        return not any([*newer, await any_since(pool, "forgotten", made_at, at="forgotten_at")])


def _folder(appliance: ApplianceResource, config: Config) -> Path:
    state = appliance.state()
    if state is None and not config.dataset.dir:
        raise ConfigError("[dataset] dir: no folder is named, and no state folder is known")
    return dataset_folder(config.dataset, state or Path())


async def _export(appliance: ApplianceResource, part: RunPart) -> Metadata:
    config = appliance.config()
    folder = _folder(appliance, config)
    export = importlib.import_module(_EXPORT).export
    async with appliance.pool(config) as pool:
        exported: Exported = await export(
            pool, config.dataset, config.privacy.store, folder, since=None, until=None
        )
        await _record(pool, part, exported)
    return of_manifest(exported.manifest, folder) | _of_files(folder)


async def _record(pool: PostgresPool, part: RunPart, exported: Exported) -> None:
    """Whose pairs are in the files."""
    manifest = exported.manifest
    pairs = manifest.train + manifest.validation
    oldest, newest = manifest.oldest, manifest.newest
    await record(
        pool,
        part,
        exported.sequences,
        events=pairs,
        inserted=pairs,
        offered=pairs,
        occurred=(oldest, newest) if oldest and newest else None,
    )


def of_manifest(manifest: Manifest, folder: Path) -> Metadata:
    """Counts, times and hashes; no pair.  All files are new, so nothing was there already."""
    told: Mapping[str, Any] = msgspec.to_builtins(manifest)
    return {
        **of_rows(manifest.train + manifest.validation, 0),
        **of_times(manifest.oldest, manifest.newest),
        "path": dg.MetadataValue.path(str(folder)),
        "dagster/row_count": manifest.train + manifest.validation,
        **{name: told[name] for name in ("read", "train", "validation")},
        "exact_duplicates": manifest.exact_duplicates,
        "near_duplicates": manifest.near_duplicates,
        "excluded": dg.MetadataValue.json(told["excluded"]),
        "filters": dg.MetadataValue.json(told["filters"]),
        "files": dg.MetadataValue.json(told["files"]),
    }


def _of_files(folder: Path) -> Metadata:
    parquet = importlib.import_module(_PARQUET)
    rows = parquet.preview(folder, PREVIEW_ROWS)
    return {
        "dagster/column_schema": schema([Column(*column) for column in parquet.columns()]),
        "preview": dg.MetadataValue.md(markdown(rows, "no pair is in the dataset")),
    }
