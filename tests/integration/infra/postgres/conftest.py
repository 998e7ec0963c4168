from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.postgres import Cluster


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(dsn) as made:
        yield made


@pytest.fixture
def fresh(postgres_cluster: Cluster, migrated: str) -> Callable[[], str]:
    """Further migrated databases."""
    return partial(postgres_cluster.create_database, migrated)
