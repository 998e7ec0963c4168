"""A `dagster` role whose database is taken from it says so; while PostgreSQL is only away it does
not."""

import secrets
from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from appliance.config.schema import Config, DagsterConfig, PostgresConfig
from appliance.pipelines import instance as instances
from appliance.pipelines.leader import Leader
from appliance.pipelines.server import lost
from appliance.pipelines.storage import PooledPostgresStorage
from tests.fakes.postgres import Cluster

ODD = "p%40 :/?#[]'\"\\&=+%s%%é 'x"


@pytest.fixture
def name(postgres_cluster: Cluster) -> Iterator[str]:
    """A database `dagster` of a server that knows it by another name, and by a role of its own
    whose password has whatever a password may have."""
    made = f"d_{secrets.token_hex(6)}"
    quoted = ODD.replace("'", "''")
    postgres_cluster.execute_as_superuser(
        "postgres",
        f"CREATE ROLE {made} LOGIN PASSWORD '{quoted}'",
        f"CREATE DATABASE {made} OWNER {made}",
    )
    yield made
    postgres_cluster.execute_as_superuser(
        "postgres", f"DROP DATABASE IF EXISTS {made} WITH (FORCE)", f"DROP ROLE {made}"
    )


def test_one_that_was_dropped_or_made_again_empty_is_lost(
    postgres_cluster: Cluster, fresh_dsn: str, name: str
) -> None:
    dsn = make_conninfo(fresh_dsn, dbname=name, user=name, password=ODD)
    config = Config(postgres=PostgresConfig(dsn=dsn), dagster=DagsterConfig(dsn=dsn))
    url = instances.postgres_url(config)
    PooledPostgresStorage(url)  # with that password; it makes the tables
    leader = Leader(instances.conninfo(config))
    assert lost(config, url, leader) == ""

    postgres_cluster.execute_as_superuser("postgres", f"DROP DATABASE {name} WITH (FORCE)")
    postgres_cluster.execute_as_superuser("postgres", f"CREATE DATABASE {name} OWNER {name}")
    assert "tables" in lost(config, url, leader)
    leader.close()


@pytest.fixture
def without_dagster(postgres_cluster: Cluster) -> Iterator[None]:
    """The server of the session has no database `dagster`, for as long as the test."""
    postgres_cluster.execute_as_superuser("postgres", "ALTER DATABASE dagster RENAME TO elsewhere")
    yield
    postgres_cluster.execute_as_superuser("postgres", "ALTER DATABASE elsewhere RENAME TO dagster")


@pytest.mark.usefixtures("without_dagster")
def test_one_that_is_missing_is_lost_and_one_that_is_away_is_not(fresh_dsn: str) -> None:
    config = Config(postgres=PostgresConfig(dsn=fresh_dsn))
    leader = Leader(instances.conninfo(config))
    assert "CREATE DATABASE" in lost(config, instances.postgres_url(config), leader)
    config = Config(postgres=PostgresConfig(dsn=make_conninfo(fresh_dsn, port="9")))
    leader = Leader(instances.conninfo(config))
    assert lost(config, instances.postgres_url(config), leader) == ""
