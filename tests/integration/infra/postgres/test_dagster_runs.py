"""What Dagster's database says of its runs, held to the release of Dagster that is installed."""

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from appliance.domain.errors import PartUnavailable
from appliance.infra.postgres.dagster_runs import dagster_runs


@dg.asset(key=["folder", "kept"])
def kept() -> None:
    """An asset that is made."""


@dg.asset
def broken() -> None:
    """One whose run fails."""
    raise dg.Failure("as it must")


def instance_on(folder: Path, dsn: str) -> dg.DagsterInstance:
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    login = f"{known['user']}:{quote(known['password'], safe='')}"
    url = f"postgresql+psycopg2://{login}@{known['host']}:{known['port']}/{known['dbname']}"
    (folder / "dagster.yaml").write_text(
        f'telemetry:\n  enabled: false\nstorage:\n  postgres:\n    postgres_url: "{url}"\n'
    )
    return dg.DagsterInstance.from_config(str(folder))


def _three_runs(folder: Path, dsn: str) -> tuple[str, str, str]:
    """The ids of one that ends well, one that fails, and one that never starts."""
    with instance_on(folder, dsn) as instance:
        good = dg.materialize([kept], instance=instance).run_id
        bad = dg.materialize([broken], instance=instance, raise_on_error=False).run_id
        graph = dg.Definitions(assets=[kept]).resolve_asset_graph()
        job = dg.define_asset_job("job").resolve(asset_graph=graph)
        return good, bad, instance.create_run_for_job(job).run_id


async def test_state_times_and_materialisations_of_real_runs(
    tmp_path: Path, fresh_dsn: str
) -> None:
    began = time.time()
    good, bad, waits = await asyncio.to_thread(_three_runs, tmp_path, fresh_dsn)
    ended = time.time()
    found = await dagster_runs(fresh_dsn, [good, bad, waits, "nobody's"])
    assert found is not None
    assert {run_id: run.status for run_id, run in found.items()} == {
        good: "SUCCESS",
        bad: "FAILURE",
        waits: "NOT_STARTED",
    }
    run = found[good]
    assert run.started_at is not None
    assert run.ended_at is not None
    assert began <= run.started_at <= run.materialised["folder/kept"] <= run.ended_at <= ended
    assert (found[bad].materialised, found[waits].started_at) == ({}, None)


async def test_a_database_without_its_tables_and_none_at_all_keep_nothing(fresh_dsn: str) -> None:
    assert await dagster_runs(fresh_dsn, ["r"]) is None
    assert await dagster_runs(make_conninfo(fresh_dsn, dbname="no_such_database"), ["r"]) is None


async def test_a_server_that_is_away_is_said_to_be(fresh_dsn: str) -> None:
    with pytest.raises(PartUnavailable, match=r"^Dagster: PostgreSQL: "):
        await dagster_runs(make_conninfo(fresh_dsn, host="127.0.0.1", port="9"), ["r"])


async def test_tables_of_another_shape_are_said_to_be(fresh_dsn: str) -> None:
    with psycopg.connect(fresh_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE runs (run_id text)")
        connection.execute("CREATE TABLE event_logs (run_id text)")
    with pytest.raises(PartUnavailable, match="not as this release knows them") as caught:
        await dagster_runs(fresh_dsn, ["r"])
    assert "migrate" not in str(caught.value)


async def test_nothing_can_be_written_on_the_way(fresh_dsn: str) -> None:
    """A view that writes when it is read stands for any statement that would."""
    with psycopg.connect(fresh_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (n int)")
        connection.execute(
            "CREATE FUNCTION writes() RETURNS text LANGUAGE sql VOLATILE AS"
            " $$ INSERT INTO written VALUES (1) RETURNING 'r' $$"
        )
        connection.execute(
            "CREATE VIEW runs AS SELECT writes() AS run_id, '' AS status, 0 AS start_time,"
            " 0 AS end_time"
        )
        connection.execute("CREATE TABLE event_logs (run_id text)")
        with pytest.raises(PartUnavailable, match="read-only transaction"):
            await dagster_runs(fresh_dsn, ["r"])
        assert connection.execute("SELECT count(*) FROM written").fetchone() == (0,)
