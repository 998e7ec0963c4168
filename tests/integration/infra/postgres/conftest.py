from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from appliance.infra.postgres.migrate import migrate
from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.postgres import Cluster


@pytest.fixture
async def dsn(fresh_dsn: str) -> str:
    """A migrated database of the test's own."""
    await migrate(fresh_dsn)
    return fresh_dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(dsn) as made:
        yield made


@pytest.fixture
def fresh(postgres_cluster: Cluster) -> Callable[[], Awaitable[str]]:
    """Further migrated databases."""

    async def make() -> str:
        dsn = postgres_cluster.create_database()
        await migrate(dsn)
        return dsn

    return make
