"""Runs that drain into the real tables, one of which is killed."""

import asyncio
import os
import subprocess
import sys

import pytest

from appliance.config.schema import ConsumerConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.infra.nats.consumer.backlog import Backlog, backlog
from appliance.infra.nats.consumer.drain import drain
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.consumer import jetstream, publish_many, rows
from tests.fakes.exchanges import exchange
from tests.fixtures_nats import NatsServer

ROLE = DURABLES[PERSIST]
CHAT = of_dagster(ROLE)
ACK_WAIT_S = 3.0
SETTINGS = ConsumerConfig(batch_messages=50, ack_wait_s=ACK_WAIT_S)


async def drained(
    server: NatsServer, dsn: str, *, role: bool = False, patience_s: float = 10.0
) -> Drained:
    """What waits for Dagster's durable, or for the consumer role's, into the tables of `dsn`."""
    async with asyncio.timeout(150), PostgresPool(dsn, connect_timeout_s=1.0) as pool:
        return await drain(
            server.config,
            ROLE if role else CHAT,
            writer_for(PERSIST, pool),
            consumer=SETTINGS,
            most_events=100_000,
            patience_s=patience_s,
        )


async def left(server: NatsServer) -> Backlog:
    return await backlog(server.config, CHAT, ack_wait_s=ACK_WAIT_S)


def killed_run(server: NatsServer, dsn: str) -> str:
    """What a run said that was killed between its first commit and the acks."""
    config = server.config
    env = {"NATS_URL": config.url, "NATS_TOKEN": config.token, "POSTGRES_DSN": dsn}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.drain_and_hang", str(ACK_WAIT_S)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | env,
    ) as run:
        assert run.stdout is not None
        said = run.stdout.readline()
        run.kill()
    return said


async def publish(server: NatsServer, count: int) -> None:
    async with jetstream(server) as js:
        await publish_many(js, (exchange(number) for number in range(count)))


async def test_a_run_killed_between_commit_and_ack_is_seen_and_the_next_has_its_messages(
    nats_server: NatsServer, dsn: str
) -> None:
    await publish(nats_server, 120)
    assert await asyncio.to_thread(killed_run, nats_server, dsn) == "committed 50\n"
    while not (seen := await left(nats_server)).abandoned:
        assert seen.unacked >= 50
        await asyncio.sleep(0.05)
    told = await drained(nats_server, dsn)
    assert told.events == 120
    assert told.written.offered["chat_pairs"] == 120
    assert told.written.inserted["chat_pairs"] == 70
    assert await left(nats_server) == Backlog()
    assert rows(dsn, "SELECT count(*), count(DISTINCT trace_id) FROM chat_pairs") == [(120, 120)]


async def test_both_drivers_see_everything_and_the_second_changes_nothing(
    nats_server: NatsServer, dsn: str
) -> None:
    await publish(nats_server, 60)
    first = await drained(nats_server, dsn, role=True)
    second = await drained(nats_server, dsn)
    assert (first.events, second.events) == (60, 60)
    assert first.sequences == second.sequences
    assert first.written.inserted["chat_pairs"] == 60
    assert set(second.written.inserted.values()) == {0}
    assert second.written.offered == first.written.offered


async def test_one_exchange_is_told_by_its_ids(nats_server: NatsServer, dsn: str) -> None:
    await publish(nats_server, 1)
    told = await drained(nats_server, dsn)
    assert told.exchange == (exchange(0).trace_id, exchange(0).correlation_id)
    assert told.oldest == told.newest
    assert (told.oldest or "").startswith("2026-")


async def test_without_postgresql_it_says_so_and_nothing_is_lost(
    nats_server: NatsServer, dsn: str
) -> None:
    await publish(nats_server, 60)
    with pytest.raises(PartUnavailable) as told:
        await drained(nats_server, "host=127.0.0.1 port=1 user=nobody", patience_s=0.3)
    assert told.value.part == "postgres"
    assert (await drained(nats_server, dsn)).events == 60
