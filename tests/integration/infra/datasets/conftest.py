from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.feedback import FEEDBACK
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries

Keep = Callable[..., Awaitable[None]]


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(dsn) as made:
        yield made


@pytest.fixture
def keep(pool: PostgresPool) -> Keep:
    """Writes the chats and the feedback of exchanges, as the consumer does."""
    written = 0

    async def write(*exchanges: Exchange) -> None:
        nonlocal written
        for subject in (PERSIST, FEEDBACK):
            batch = deliveries(subject, *exchanges, first=written + 1)
            if batch:
                assert not (await writer_for(subject, pool).write(batch)).rejected
            written += len(batch)

    return write
