import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance
from dagster._core.instance import InstanceRef
from sqlalchemy import text

from appliance.config.schema import Config, DagsterConfig
from appliance.entrypoints.options import RunOptions
from appliance.pipelines.instance import home, postgres_url
from appliance.pipelines.leader import Leader
from appliance.pipelines.storage import PooledPostgresStorage, shared_engine, upgrade

_OLDER = "f495c27d5019"  # the one before that of Dagster 1.13.27
_MAKE = """
import sys
from appliance.pipelines.storage import PooledPostgresStorage
PooledPostgresStorage(sys.argv[1]).run_storage.get_runs_count()
"""


@pytest.fixture
def url(fresh_dsn: str) -> str:
    """A database of the test's own, as Dagster is told of it."""
    return postgres_url(Config(dagster=DagsterConfig(dsn=fresh_dsn)))


def test_processes_that_start_at_once_make_the_tables_of_an_empty_database_once(url: str) -> None:
    makers = [
        subprocess.Popen([sys.executable, "-c", _MAKE, url], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [maker.communicate(timeout=60)[1].decode() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0], said
    storage = PooledPostgresStorage(url)
    current, newest = storage.run_storage.alembic_version() or ("", None)
    assert current == newest


def test_the_tables_of_an_older_dagster_are_brought_up_to_this_version(
    url: str, fresh_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(dagster=DagsterConfig(dsn=fresh_dsn, home=str(tmp_path / "home")))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    ref = InstanceRef.from_dir(str(home(RunOptions(config=config))))
    with DagsterInstance.from_ref(ref) as instance:
        assert not upgrade(instance, url)
        with psycopg.connect(fresh_dsn) as other:
            other.execute("UPDATE alembic_version SET version_num = %s", [_OLDER])
        assert upgrade(instance, url)
        current, newest = instance.run_storage.alembic_version() or ("", None)
        assert current == newest != _OLDER


def test_the_three_storages_and_every_instance_share_the_connections(url: str) -> None:
    for storage in [PooledPostgresStorage(url) for _ in range(4)]:
        storage.run_storage.get_runs_count()
        storage.event_log_storage.get_maximum_record_id()
        storage.schedule_storage.all_instigator_state()
    # The second held the lock while the tables were made.
    assert shared_engine(url).pool.checkedin() <= 2  # type: ignore[attr-defined]


def _backend(url: str) -> int:
    with shared_engine(url).connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_forked_child_opens_connections_of_its_own(url: str) -> None:
    ours = _backend(url)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(_backend(url)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 32)) != ours
    assert _backend(url) == ours


def test_a_connection_the_server_has_ended_costs_no_failed_statement(
    url: str, fresh_dsn: str
) -> None:
    storage = PooledPostgresStorage(url)
    ended = _backend(url)
    with psycopg.connect(fresh_dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [ended])
    assert storage.run_storage.get_runs_count() == 0


def test_one_dagster_role_has_the_database_until_it_is_gone(fresh_dsn: str) -> None:
    first, second = Leader(fresh_dsn), Leader(fresh_dsn)
    try:
        assert first.take()
        assert first.take()
        assert not second.take()
        first.close()
        assert second.take()
        assert not first.take()
    finally:
        first.close()
        second.close()
