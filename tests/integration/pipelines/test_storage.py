import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    TickData,
    TickStatus,
)
from psycopg.conninfo import make_conninfo
from sqlalchemy import event, text

from appliance.config.schema import Config, DagsterConfig
from appliance.entrypoints.options import RunOptions
from appliance.pipelines.instance import home, postgres_url
from appliance.pipelines.leader import Leader
from appliance.pipelines.storage import (
    PooledPostgresStorage,
    TicksStorage,
    shared_engine,
    ticks_engine,
    upgrade,
)

_OLDER = "f495c27d5019"  # the one before that of Dagster 1.13.27
_SETTINGS = ("synchronous_commit", "search_path")
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


def test_the_storages_of_every_instance_share_the_connections(url: str) -> None:
    for storage in [PooledPostgresStorage(url) for _ in range(4)]:
        storage.run_storage.get_runs_count()
        storage.event_log_storage.get_maximum_record_id()
        storage.schedule_storage.all_instigator_state()
    # The second held the lock while the tables were made.
    assert shared_engine(url).pool.checkedin() <= 2  # type: ignore[attr-defined]
    assert ticks_engine(url).pool.checkedin() == 1  # type: ignore[attr-defined]


def test_ticks_do_not_wait_for_the_disk_and_runs_do(fresh_dsn: str) -> None:
    dsn = make_conninfo(fresh_dsn, options="-c search_path=public")
    url = postgres_url(Config(dagster=DagsterConfig(dsn=dsn)))
    for engine, commit in ((ticks_engine(url), "off"), (shared_engine(url), "on")):
        with engine.connect() as connection:
            said = [connection.scalar(text(f"SHOW {name}")) for name in _SETTINGS]
        assert said == [commit, "public"]


def _sensor() -> InstigatorState:
    """One that runs, of a code location nobody asks."""
    place = GrpcServerCodeLocationOrigin(host="localhost", socket="none", location_name="none")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "none"), "sensor")
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)


def _tick(storage: PooledPostgresStorage, sensor: InstigatorState) -> None:
    """What Dagster reads and writes for a sensor that finds nothing."""
    ticks, origin, selector = (
        storage.schedule_storage,
        sensor.instigator_origin_id,
        sensor.selector_id,
    )
    for _ in range(2):
        assert ticks.get_instigator_state(origin, selector)
        ticks.update_instigator_state(sensor)
    ticks.get_ticks(origin, selector, limit=1)
    begun = TickData(
        origin, sensor.name, InstigatorType.SENSOR, TickStatus.STARTED, 1.0, selector_id=selector
    )
    ticks.update_tick(ticks.create_tick(begun).with_status(TickStatus.SKIPPED))


def test_a_tick_does_not_ask_again_which_tables_there_are(url: str) -> None:
    storage, sensor = PooledPostgresStorage(url), _sensor()
    storage.schedule_storage.add_instigator_state(sensor)
    _tick(storage, sensor)
    said: list[str] = []

    def listen(*told: object) -> None:
        said.append(str(told[2]))

    event.listen(ticks_engine(url), "before_cursor_execute", listen)
    _tick(storage, sensor)
    assert said
    for asked in ("pg_class", "secondary_indexes"):
        assert not [statement for statement in said if asked in statement]


def test_a_table_that_an_upgrade_brings_is_seen_once_it_is_there(url: str, fresh_dsn: str) -> None:
    ticks = PooledPostgresStorage(url).schedule_storage
    assert isinstance(ticks, TicksStorage)
    with psycopg.connect(fresh_dsn, autocommit=True) as other:
        other.execute("ALTER TABLE instigators RENAME TO not_yet")
        assert not ticks.has_instigators_table()
        other.execute("ALTER TABLE not_yet RENAME TO instigators")
    assert ticks.has_instigators_table()


def test_a_migration_of_data_that_was_not_done_is_seen_once_it_is(url: str) -> None:
    ticks = PooledPostgresStorage(url).schedule_storage
    assert isinstance(ticks, TicksStorage)
    assert not ticks.has_built_index("of_some_later_release")
    ticks.mark_index_built("of_some_later_release")
    assert ticks.has_built_index("of_some_later_release")


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
