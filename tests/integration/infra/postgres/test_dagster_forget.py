"""What Dagster's database says of exchanges goes, held to the release of Dagster that is installed:
real runs with previews, ids and findings."""

import asyncio
from pathlib import Path

import dagster as dg
from psycopg.conninfo import make_conninfo

from appliance.infra.postgres.dagster_forget import INSTEAD, forget_in_dagster
from tests.fakes.deliveries import dump
from tests.integration.infra.postgres.test_dagster_runs import instance_on

GONE, KEPT = "01a2009dc795642dc79cc1c212a72ef1", "01a2009dc795642dc79cc1c212a72ef2"
SECRET = "XYZZY"
TABLES = ("runs", "run_tags", "event_logs", "asset_keys", "asset_check_executions")
TIMEOUT_S = 10.0


def _told(trace_id: str, text: str) -> dg.AssetsDefinition:
    """As the assets of the pipelines tell: a preview, both ids on the run, a finding."""

    @dg.asset(check_specs=[dg.AssetCheckSpec("no_orphans", asset="told")])
    def told(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        tags = {"trace_id": trace_id, "correlation_id": f"mrs-{text}"}
        context.instance.add_run_tags(context.run.run_id, tags)
        preview = f"| trace_id | prompt |\n| --- | --- |\n| {trace_id} | {text} |"
        finding = {"first": [f"{trace_id} answer lacks {text}"]}
        return dg.MaterializeResult(
            metadata={"events": 7, "preview": dg.MetadataValue.md(preview)},
            check_results=[dg.AssetCheckResult(passed=False, metadata=finding)],
        )

    return told


def _materialise(instance: dg.DagsterInstance, trace_id: str, text: str) -> str:
    return dg.materialize([_told(trace_id, text)], instance=instance).run_id


def _metadata(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """Of what the run materialised."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    (made,) = [event.asset_materialization for event in events]
    assert made is not None
    return {name: value.value for name, value in made.metadata.items()}


def _everywhere(dsn: str) -> str:
    return "\n".join(line for lines in dump(dsn, TABLES).values() for line in lines)


async def test_previews_tags_and_findings_of_it_go_and_the_rest_stays(
    tmp_path: Path, fresh_dsn: str
) -> None:
    with instance_on(tmp_path, fresh_dsn) as instance:
        kept = await asyncio.to_thread(_materialise, instance, KEPT, "plugh")
        gone = await asyncio.to_thread(_materialise, instance, GONE, SECRET)
        assert _everywhere(fresh_dsn).count(SECRET) > 5
        others = _everywhere(fresh_dsn).count("plugh")

        assert await forget_in_dagster(fresh_dsn, [GONE], timeout_s=TIMEOUT_S)
        assert SECRET not in _everywhere(fresh_dsn)
        assert GONE not in _everywhere(fresh_dsn)
        assert _everywhere(fresh_dsn).count("plugh") == others
        assert _metadata(instance, gone) == {"events": 7, "preview": INSTEAD}
        assert KEPT in str(_metadata(instance, kept)["preview"])
        tags = [getattr(instance.get_run_by_id(run), "tags", {}) for run in (kept, gone)]
        assert ["trace_id" in each for each in tags] == [True, False]
        latest = instance.get_latest_materialization_event(dg.AssetKey("told"))
        assert latest is not None
        assert latest.run_id == gone
        assert await forget_in_dagster(fresh_dsn, [GONE], timeout_s=TIMEOUT_S) == 0


async def test_a_run_is_found_by_the_id_of_the_caller_too(tmp_path: Path, fresh_dsn: str) -> None:
    with instance_on(tmp_path, fresh_dsn) as instance:
        run = await asyncio.to_thread(_materialise, instance, GONE, SECRET)
        assert await forget_in_dagster(fresh_dsn, [f"mrs-{SECRET}"], timeout_s=TIMEOUT_S)
        found = instance.get_run_by_id(run)
        assert found is not None
        assert not {"trace_id", "correlation_id"} & set(found.tags)


async def test_where_dagster_keeps_nothing_there_is_nothing_to_forget(fresh_dsn: str) -> None:
    nowhere = make_conninfo(fresh_dsn, dbname="no_such_database")
    for dsn in (fresh_dsn, nowhere):
        assert await forget_in_dagster(dsn, [GONE], timeout_s=TIMEOUT_S) is None
