"""What a sensor is told of its durable."""

import asyncio
from typing import Any

from appliance.config.schema import NatsConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.nats.consumer.backlog import Backlog, backlog
from tests.fakes.consumer import jetstream
from tests.fakes.published import publish_bodies
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsServer

CHAT = of_dagster(DURABLES[PERSIST])


async def _look(server: NatsServer, ack_wait_s: float = 600.0) -> Backlog:
    return await backlog(server.config, CHAT, ack_wait_s=ack_wait_s)


async def test_a_durable_that_is_missing_is_made_and_everything_of_its_subject_waits(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(3))
        await publish_bodies(js, TOOL_CALL, range(5))
        assert await _look(nats_server, ack_wait_s=30.0) == Backlog(pending=3)
        config = (await js.consumer_info("PIPELINE", CHAT.name)).config
        assert (config.filter_subject, config.ack_wait) == (PERSIST, 30.0)
        await publish_bodies(js, PERSIST, range(3, 5))
        async with asyncio.timeout(WAIT_S):  # it counts them a moment after they are acked
            while await _look(nats_server, ack_wait_s=7.0) != Backlog(pending=5):
                await asyncio.sleep(0.01)
        config = (await js.consumer_info("PIPELINE", CHAT.name)).config
        assert config.ack_wait == 30.0


async def test_what_is_handed_out_is_abandoned_once_nobody_was_for_ack_wait(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(5))
        await _look(nats_server)
        await _fetch(js, 2)
        assert await _look(nats_server) == Backlog(pending=3, unacked=2)
        assert await _look(nats_server, ack_wait_s=0.001) == Backlog(3, 2, abandoned=True)


async def test_what_is_acked_is_nobodys(nats_server: NatsServer) -> None:
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(2))
        await _look(nats_server)
        for message in await _fetch(js, 2):
            await message.ack_sync()
        assert await _look(nats_server, ack_wait_s=0.001) == Backlog()


async def test_what_is_missing_is_said(nats_server: NatsServer) -> None:
    assert (await _look(nats_server)).missing == "there is no stream PIPELINE yet"
    nats_server.kill()
    assert (await _look(nats_server)).missing.startswith("NATS: ")
    unset = await backlog(NatsConfig(url=""), CHAT, ack_wait_s=1.0)
    assert unset.missing == "NATS: is not configured ([nats] url)"


async def test_threads_with_loops_of_their_own_ask_at_the_same_time(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(3))
        threads = (asyncio.to_thread(asyncio.run, _look(nats_server)) for _ in range(4))
        assert await asyncio.gather(*threads) == [Backlog(pending=3)] * 4


async def _fetch(js: Any, count: int) -> list[Any]:
    pull = await js.pull_subscribe_bind(CHAT.name, "PIPELINE")
    return list(await pull.fetch(count))
