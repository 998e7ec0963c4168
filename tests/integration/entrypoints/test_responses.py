"""The responses of a gateway over the real PostgreSQL: what is left of them when it stops."""

import asyncio
import time

import psycopg
import pytest

from appliance.config.schema import Config, PostgresConfig, ResponsesConfig
from appliance.domain.chat.service import Clock
from appliance.domain.errors import PartUnavailable
from appliance.domain.sealing import Seal
from appliance.entrypoints.responses import make_responses
from tests.fakes.chat_backend import KeptExchanges
from tests.fakes.chat_service import chat_service
from tests.fakes.stored_responses import response

LOCKED = """
SELECT count(*) FROM pg_locks WHERE NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_a_write_that_outlasts_the_gateway_is_given_up_before_its_connections(
    dsn: str,
) -> None:
    config = Config(
        postgres=PostgresConfig(dsn=dsn),
        responses=ResponsesConfig(store_timeout_s=60),
    )
    chat = chat_service(KeptExchanges(), Clock(time.time, time.monotonic), None)
    responses = make_responses(config, chat, Seal(b"a secret of the tests"))
    async with await psycopg.AsyncConnection.connect(dsn) as holder, asyncio.timeout(50):
        await holder.execute("LOCK TABLE api_responses")
        async with responses.running():
            writing = asyncio.ensure_future(responses.store.create(response("t"), lease_s=30))
            while not (await (await holder.execute(LOCKED)).fetchone() or (0,))[0]:
                await asyncio.sleep(0.01)
        assert writing.done()
        with pytest.raises(PartUnavailable):
            await writing
