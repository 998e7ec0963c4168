"""Rows of responses on their way into the real PostgreSQL, while somebody takes rows away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from appliance.domain.responses.record import NewResponse
from appliance.infra.postgres.locks import hold_alone
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.response_writes import Finished, Made
from appliance.infra.postgres.responses import PostgresResponseStore
from appliance.infra.postgres.writers.forgotten import digest
from tests.fakes.deliveries import rows
from tests.fakes.stored_responses import FRAME, response
from tests.fakes.until import WAIT_S

WAITING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
Write = Callable[[PostgresResponseStore, NewResponse], Awaitable[None]]


@pytest.mark.parametrize(
    "write",
    [
        lambda store, new: store.create(new, lease_s=30),
        lambda store, new: store.keep(new, FRAME),
    ],
    ids=["create", "keep"],
)
@pytest.mark.parametrize("which", ["id", "trace_id", "correlation_id", "conversation_id"])
async def test_what_is_being_forgotten_is_waited_for_and_then_not_made(
    pool: PostgresPool, which: str, write: Write
) -> None:
    store, new = PostgresResponseStore(pool, stable_s=0), response("t")
    async with asyncio.timeout(WAIT_S):
        async with pool.transaction() as forgetting:
            await hold_alone(forgetting)
            await forgetting.execute(
                "INSERT INTO forgotten (digest) VALUES (%s)", (digest(getattr(new, which)),)
            )
            writing = asyncio.ensure_future(write(store, new))
            while not (await (await forgetting.execute(WAITING)).fetchone() or (0,))[0]:
                assert not writing.done()
                await asyncio.sleep(0.01)
        await writing
    assert await store.get(new.id) is None


async def test_a_live_row_is_leased_for_as_long_as_it_says(pool: PostgresPool, dsn: str) -> None:
    await PostgresResponseStore(pool).create(response("t"), lease_s=30)
    found = rows(dsn, "SELECT lease_until - now() FROM api_responses")
    assert timedelta(0) < found[0][0] <= timedelta(seconds=30)


def test_the_size_of_a_row_is_that_of_its_bytes() -> None:
    new = response("t", resource=b"x" * 100)
    assert Made(new, b"y" * 10).size_bytes == 110 + len(new.input_items)
    assert Finished(new.id, "completed", b"x" * 100, b"y" * 10).size_bytes == 110
