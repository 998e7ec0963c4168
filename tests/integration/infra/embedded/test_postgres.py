import dataclasses
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from appliance.infra.embedded.postgres import postgres_answers
from tests.fakes.postgres import Cluster


async def test_the_role_owns_its_database_and_is_no_superuser(postgres_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_dsn) as database:
        row = await database.execute(
            "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        assert await row.fetchone() == (False, False)
        await database.execute("CREATE TABLE mine (v vector(3))")
        await database.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await database.execute("COPY (SELECT 1) TO PROGRAM 'cat'")


async def test_nobody_is_let_in_without_the_password(postgres_dsn: str) -> None:
    for user in ("agent_gateway", "postgres"):
        dsn = make_conninfo(postgres_dsn, user=user, password="guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(dsn)
        assert not await postgres_answers(dsn)


def test_it_listens_on_loopback_alone(postgres_cluster: Cluster) -> None:
    lines = (postgres_cluster.postgres.data / "postmaster.pid").read_text().splitlines()
    socket_folder, listen_address = lines[4:6]
    assert (socket_folder, listen_address) == ("", "127.0.0.1")


async def test_preparing_again_changes_nothing(postgres_cluster: Cluster) -> None:
    await postgres_cluster.postgres.prepare()
    assert await postgres_answers(postgres_cluster.postgres.dsn)


async def test_dagsters_database_is_the_roles_own_also_in_a_cluster_made_without_it(
    postgres_cluster: Cluster,
) -> None:
    postgres_cluster.execute_as_superuser("postgres", "DROP DATABASE dagster")
    await postgres_cluster.postgres.prepare()
    dsn = make_conninfo(postgres_cluster.postgres.dsn, dbname="dagster")
    async with await psycopg.AsyncConnection.connect(dsn) as database:
        row = await database.execute(
            "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database "
            "WHERE datname = current_database()"
        )
        assert await row.fetchone() == (True,)
        await database.execute("CREATE TABLE runs (id int)")
        await database.rollback()


async def test_an_interrupted_initdb_is_begun_again(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    again = dataclasses.replace(postgres_cluster.postgres, data=tmp_path / "postgres")
    await again.initialise()
    assert (tmp_path / "postgres" / "global").is_dir()
    assert not half.exists()


async def test_a_stale_pid_file_of_a_stranger_is_no_obstacle(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    again = dataclasses.replace(postgres_cluster.postgres, data=tmp_path / "postgres")
    await again.initialise()
    (tmp_path / "postgres" / "postmaster.pid").write_text("1\n")
    await again.initialise()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()
