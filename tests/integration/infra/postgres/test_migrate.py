import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.infra.postgres.locks import hold_shared
from appliance.infra.postgres.migrate import MIGRATIONS, migrate
from tests.fakes.postgres import Cluster


def _rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


async def test_every_migration_is_applied_once_and_in_order(fresh_dsn: str) -> None:
    names = sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    assert await migrate(fresh_dsn) == names
    assert await migrate(fresh_dsn) == []
    assert [
        row[0] for row in _rows(fresh_dsn, "SELECT name FROM schema_migrations ORDER BY 1")
    ] == names


async def test_two_runs_at_once_wait_for_each_other(fresh_dsn: str) -> None:
    done = await asyncio.gather(*(migrate(fresh_dsn) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(list(MIGRATIONS.glob("*.sql")))]


async def test_a_changed_file_that_was_applied_is_refused(fresh_dsn: str, tmp_path: Path) -> None:
    script = tmp_path / "0001_a.sql"
    script.write_text("CREATE TABLE a ()")
    await migrate(fresh_dsn, folder=tmp_path)
    script.write_text("CREATE TABLE a (b int)")
    with pytest.raises(ConfigError, match=r"0001_a\.sql has changed"):
        await migrate(fresh_dsn, folder=tmp_path)


async def test_a_failing_migration_leaves_nothing_of_itself(fresh_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good ()")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE half (); CREATE TABLE good ()")
    with pytest.raises(ConfigError, match=r"0002_bad\.sql failed and was undone"):
        await migrate(fresh_dsn, folder=tmp_path)
    assert _rows(fresh_dsn, "SELECT to_regclass('good')::text, to_regclass('half')") == [
        ("good", None)
    ]
    assert _rows(fresh_dsn, "SELECT name FROM schema_migrations") == [("0001_good.sql",)]


async def test_a_batch_under_way_is_waited_for(fresh_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a ()")
    async with await psycopg.AsyncConnection.connect(fresh_dsn) as batch:
        await hold_shared(batch)
        migrating = asyncio.create_task(migrate(fresh_dsn, folder=tmp_path))
        await waits(fresh_dsn, "Lock", "advisory")
        assert _rows(fresh_dsn, "SELECT to_regclass('a')") == [(None,)]
        await batch.commit()
        assert await migrating == ["0001_a.sql"]


async def test_a_deadlock_with_a_reader_is_tried_again(
    fresh_dsn: str, postgres_cluster: Cluster, tmp_path: Path
) -> None:
    conninfo = conninfo_to_dict(fresh_dsn)
    # The reader is patient, so that the server gives up the migration.
    postgres_cluster.execute_as_superuser(
        str(conninfo["dbname"]), f'GRANT SET ON PARAMETER deadlock_timeout TO "{conninfo["user"]}"'
    )
    (tmp_path / "0001_two.sql").write_text("CREATE TABLE a (); CREATE TABLE b ()")
    await migrate(fresh_dsn, folder=tmp_path)
    (tmp_path / "0002_more.sql").write_text(
        "ALTER TABLE b ADD COLUMN more int; ALTER TABLE a ADD COLUMN more int"
    )
    async with await psycopg.AsyncConnection.connect(fresh_dsn) as reader:
        await reader.execute("SET deadlock_timeout = '1min'")
        await reader.execute("SELECT FROM a")
        migrating = asyncio.create_task(migrate(fresh_dsn, folder=tmp_path))
        await waits(fresh_dsn, "Lock", "relation")
        await reader.execute("SELECT FROM b")  # which the migration holds, until it is given up
        await reader.commit()
        assert await migrating == ["0002_more.sql"]


async def waits(dsn: str, kind: str, event: str) -> None:
    """Until a session waits for that."""
    query = f"""SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = '{kind}' AND wait_event = '{event}'"""
    async with asyncio.timeout(60):
        while not _rows(dsn, query):
            await asyncio.sleep(0.02)


async def test_a_database_without_the_extension_says_what_to_do(
    fresh_dsn: str, postgres_cluster: Cluster
) -> None:
    database = str(conninfo_to_dict(fresh_dsn)["dbname"])
    postgres_cluster.execute_as_superuser(database, "DROP EXTENSION vector")
    with pytest.raises(ConfigError, match="CREATE EXTENSION vector"):
        await migrate(fresh_dsn)


async def test_a_role_without_rights_says_so(fresh_dsn: str, postgres_cluster: Cluster) -> None:
    database = str(conninfo_to_dict(fresh_dsn)["dbname"])
    postgres_cluster.execute_as_superuser(
        database, f'ALTER DATABASE "{database}" OWNER TO postgres'
    )
    with pytest.raises(ConfigError, match="may not create tables"):
        await migrate(fresh_dsn)


async def test_no_server_is_a_missing_part() -> None:
    with pytest.raises(PartUnavailable) as refused:
        await migrate("host=127.0.0.1 port=1 dbname=x user=x")
    assert refused.value.part == "postgres"


async def test_an_index_by_time_knows_new_rows_without_a_vacuum(dsn: str) -> None:
    settings = _rows(
        dsn,
        "SELECT relname, reloptions FROM pg_class JOIN pg_am ON pg_am.oid = relam"
        " WHERE amname = 'brin' AND relnamespace = 'public'::regnamespace",
    )
    assert settings
    assert {str(name) for name, found in settings if found != ["autosummarize=on"]} == set()
