"""Fixtures that more than one folder of tests uses: real parts, one of each for the session."""

import asyncio
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from appliance.infra.postgres.migrate import migrate
from tests.fakes.postgres import Cluster

pytest_plugins = ["tests.fixtures_nats"]


@pytest.fixture(scope="session")
def postgres_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running PostgreSQL with pgvector, of this session."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    try:
        asyncio.run(cluster.create())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_cluster: Cluster) -> str:
    """The application's database, shared by the session and not migrated; no superuser."""
    return postgres_cluster.postgres.dsn


@pytest.fixture
def fresh_dsn(postgres_cluster: Cluster) -> str:
    """A database of the test's own, not migrated."""
    return postgres_cluster.create_database()


@pytest.fixture(scope="session")
def migrated(postgres_cluster: Cluster) -> str:
    """The name of a database with its tables, to be copied: a third of what making them costs."""
    dsn = postgres_cluster.create_database()
    asyncio.run(migrate(dsn))
    return str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def dsn(postgres_cluster: Cluster, migrated: str) -> str:
    """A database of the test's own, with its tables."""
    return postgres_cluster.create_database(migrated)
