"""The real code location over a test's own NATS and PostgreSQL, run in this process.

lab.publish(recent(1), recent(2))
run = lab.run("knowledge_embedding")
assert lab.metadata(run, "embedding_record")["rows_written"] == 4
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from appliance.domain.events.exchange import Exchange
from appliance.pipelines.definitions import build
from appliance.pipelines.resources import APPLIANCE, CONFIG, ApplianceResource
from tests.fakes.kept_events import Kept

# What the materialisation of every asset says, whatever its rows are.
EVERY_ASSET = frozenset(
    {"rows_written", "rows_already_there", "oldest", "newest", "dagster/column_schema", "preview"}
)


class Lab:
    """`kept` has the streams and the tables; `instance` remembers for as long as the test."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self.kept = kept
        self.folder = folder
        self.file = folder / "appliance.toml"
        (folder / "lab.dsn").write_text(kept.dsn)
        (folder / "lab.token").write_text(kept.server.config.token)
        self.datasets = folder / "datasets"
        self.configure()
        self.appliance = ApplianceResource({CONFIG: str(self.file)})
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursors: dict[str, str | None] = {}  # of sensors
        self.definitions = build(self.appliance)

    def configure(self, tables: str = "", *, nats: bool = True, dagster: str = "") -> None:
        """Write the configuration anew; runs and ticks read it when they begin."""
        url = self.kept.server.config.url if nats else ""
        self.file.write_text(
            f'[nats]\nurl = "{url}"\ntoken = "file:lab.token"\n'
            f'[postgres]\ndsn = "file:lab.dsn"\n'
            f"[consumer]\nmax_deliver = 2\n[dagster]\nack_wait_s = 2.0\n{dagster}\n{tables}\n"
            + ("" if "[dataset]" in tables else f'[dataset]\ndir = "{self.datasets}"\n')
        )

    def publish(self, *exchanges: Exchange) -> None:
        asyncio.run(self.kept.publish(exchanges))

    def publish_raw(self, subject: str, data: bytes, event_id: str = "") -> None:
        asyncio.run(self.kept.publish_raw(subject, data, event_id))

    def run(self, job: str, config: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        """What came of a run of `job`, whether or not it succeeded."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            run_config=config, instance=self.instance, raise_on_error=False
        )

    def tick(self, sensor: str) -> dg.RunRequest | str:
        """What `sensor` says now: a run, or why not."""
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(sensor)
        ) as context:
            told = repository.get_sensor_def(sensor).evaluate_tick(context)
        self.cursors[sensor] = told.cursor
        return told.run_requests[0] if told.run_requests else str(told.skip_message)

    def look(self, schedule: str) -> dg.RunRequest | str:
        """What `schedule` says now."""
        repository = self.definitions.get_repository_def()
        with dg.build_schedule_context(
            instance=self.instance, resources={APPLIANCE: self.appliance}
        ) as context:
            told = repository.get_schedule_def(schedule).evaluate_tick(context)
        return told.run_requests[0] if told.run_requests else str(told.skip_message)

    def status(self, asset: str) -> str:
        """`FRESH`, or `STALE`: the page says "Unsynced"."""
        graph = self.definitions.resolve_asset_graph()
        context = LoadingContextForTest(self.instance)
        resolver = CachingStaleStatusResolver(self.instance, graph, context)
        return str(resolver.get_status(dg.AssetKey(asset)).value)

    def tags(self, run: dg.ExecuteInProcessResult) -> Mapping[str, str]:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.tags

    @staticmethod
    def metadata(run: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
        """Of the materialisation of `asset` in `run`."""
        (event,) = run.asset_materializations_for_node(run_node(asset))
        return {name: value.value for name, value in event.metadata.items()}

    @staticmethod
    def checks(run: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        """By asset and check."""
        return {
            (found.asset_key.to_user_string(), found.check_name): found
            for found in run.get_asset_check_evaluations()
        }

    @staticmethod
    def failures(run: dg.ExecuteInProcessResult) -> dict[str, str]:
        """What each step that failed said."""
        events = [event for event in run.all_events if event.is_step_failure]
        return {str(e.step_key): _said(e.step_failure_data) for e in events}


def run_node(asset: str) -> str:
    """The op of an asset."""
    return {"chat_pair_dataset": "export_chat_pair_dataset"}.get(asset, asset)


def _said(data: Any) -> str:
    if data.user_failure_data is not None:
        return str(data.user_failure_data.description)
    error = data.error
    while error.cause is not None:
        error = error.cause
        if "appliance" in str(error.cls_name) or "Unavailable" in str(error.cls_name):
            break
    return str(error.message)
