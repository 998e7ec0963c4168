import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.durables import DURABLES, Durable, of_dagster
from appliance.infra.nats.connection import connect
from appliance.infra.nats.lag import Lag, read_lag
from appliance.infra.nats.streams import ensure_streams
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsServer

DURABLE = DURABLES[PERSIST]
DAGSTER = of_dagster(DURABLE)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    async with connect(nats_server.config, name="test") as client:
        await ensure_streams(client.jetstream(timeout=5), 1)
        yield client


async def _publish(client: Client, count: int, subject: str = PERSIST) -> None:
    for _ in range(count):
        await client.jetstream().publish(subject, b"{}")


async def _deliver(client: Client, count: int, *, acked: int, durable: Durable = DURABLE) -> None:
    """Create the durable, fetch `count` messages, ack the first `acked`."""
    config = ConsumerConfig(
        durable_name=durable.name, filter_subject=PERSIST, ack_policy=AckPolicy.EXPLICIT
    )
    await client.jetstream().add_consumer(durable.stream, config)
    pull = await client.jetstream().pull_subscribe_bind(durable.name, durable.stream)
    for message in (await pull.fetch(count) if count else [])[:acked]:
        await message.ack_sync()


async def _lag(client: Client, later_s: float = 0.0) -> Lag:
    lags = {lag.subject: lag for lag in await read_lag(client, lambda: time.time() + later_s)}
    assert list(lags) == list(DURABLES)
    return lags[PERSIST]


async def test_what_waits_is_counted_and_the_oldest_of_it_told(client: Client) -> None:
    await _publish(client, 10)
    await _publish(client, 5, COMPOSE)
    await _deliver(client, 6, acked=4)
    lag = await _lag(client, later_s=100)
    assert (lag.durable, lag.stream) == ("chat_persist", "PIPELINE")
    assert (lag.pending, lag.unacked) == (4, 2)
    assert 100 <= lag.oldest_age_s < 160


async def test_the_oldest_is_the_oldest_of_its_own_subject(client: Client) -> None:
    """Another subject's messages lie between what is acked and what is not."""
    await _publish(client, 1)
    await _deliver(client, 1, acked=1)
    await _publish(client, 3, COMPOSE)
    await _publish(client, 1)
    message = await client.jetstream().get_last_msg("PIPELINE", PERSIST)
    assert message.time is not None
    stored = message.time.timestamp()
    lags = await read_lag(client, lambda: stored + 7)
    assert lags[0].oldest_age_s == pytest.approx(7, abs=1e-3)


async def test_nothing_that_waits_is_no_age(client: Client) -> None:
    await _publish(client, 3)
    await _deliver(client, 3, acked=3)
    lag = await _lag(client, later_s=100)
    assert (lag.pending, lag.unacked, lag.oldest_age_s) == (0, 0, 0.0)


async def test_without_its_durable_everything_waits(client: Client) -> None:
    await _publish(client, 3)
    await _publish(client, 5, COMPOSE)
    lag = await _lag(client, later_s=100)
    assert (lag.pending, lag.unacked) == (3, 0)
    assert lag.oldest_age_s >= 100


async def test_with_dagster_alone_nothing_waits_that_it_has_done(client: Client) -> None:
    await _publish(client, 5)
    await _deliver(client, 5, acked=5, durable=DAGSTER)
    lag = await _lag(client, later_s=100)
    assert (lag.durable, lag.pending, lag.unacked, lag.oldest_age_s) == ("chat_persist", 0, 0, 0.0)


@pytest.mark.parametrize("ahead", [DURABLE, DAGSTER])
async def test_the_driver_that_is_further_counts(client: Client, ahead: Durable) -> None:
    behind = DAGSTER if ahead is DURABLE else DURABLE
    await _publish(client, 10)
    await _deliver(client, 3, acked=1, durable=behind)
    await _deliver(client, 8, acked=6, durable=ahead)
    lag = await _lag(client, later_s=100)
    assert (lag.durable, lag.pending, lag.unacked) == ("chat_persist", 2, 2)
    assert lag.oldest_age_s >= 100


async def test_with_both_away_what_neither_did_waits(client: Client) -> None:
    await _publish(client, 4)
    await _deliver(client, 4, acked=4)
    await _deliver(client, 2, acked=2, durable=DAGSTER)
    await _publish(client, 3)
    async with asyncio.timeout(WAIT_S):  # a durable counts them a moment after they are acked
        while (lag := await _lag(client, later_s=100)).pending != 3:
            await asyncio.sleep(0.01)
    assert lag.unacked == 0
    assert lag.oldest_age_s >= 100


async def test_without_a_stream_nothing_waits(client: Client) -> None:
    await client.jetstream().delete_stream("PIPELINE")
    assert (await _lag(client)).pending == 0


async def test_a_clock_that_goes_back_is_not_negative(client: Client) -> None:
    await _publish(client, 1)
    assert (await _lag(client, later_s=-3600)).oldest_age_s == 0.0


async def test_a_server_that_is_gone_is_said_to_be(client: Client, nats_server: NatsServer) -> None:
    nats_server.kill()
    with pytest.raises(PartUnavailable, match="NATS: "):
        await _lag(client)
