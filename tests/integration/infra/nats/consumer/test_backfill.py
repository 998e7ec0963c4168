"""A time range of the stream through a writer again, beside the durables."""

import asyncio
import time
from typing import Any

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.nats.consumer.backfill import BATCH_BYTES, backfill
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.nats.consumer.durable import ensure_durable
from appliance.infra.nats.objects import Payloads
from tests.fakes.batch_writer import FakeWriter
from tests.fakes.consumer import jetstream
from tests.fakes.published import publish_bodies, publish_reference
from tests.fixtures_nats import NatsServer

CHAT = of_dagster(DURABLES[PERSIST])


async def filled(
    server: NatsServer,
    writer: FakeWriter,
    *,
    since: float = 0.0,
    until: float = 4_000_000_000.0,
    **more: Any,
) -> Drained:
    return await backfill(server.config, CHAT, writer, since=since, until=until, **more)


async def test_a_time_range_is_written_in_order_and_no_durable_notices(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    async with jetstream(nats_server) as js:
        await ensure_durable(js, CHAT, ack_wait_s=30.0, batch=50)
        await publish_bodies(js, PERSIST, range(5))
        since = await _moment()
        first = list((await publish_bodies(js, PERSIST, range(5, 605))).values())
        await publish_bodies(js, TOOL_CALL, range(7))
        second = list((await publish_bodies(js, PERSIST, range(605, 705))).values())
        until = await _moment()
        await publish_bodies(js, PERSIST, range(705, 710))
        told = await filled(nats_server, writer, since=since, until=until)
        info = await js.consumer_info("PIPELINE", CHAT.name)
        assert (info.num_pending, info.num_ack_pending) == (710, 0)
    assert [delivery.sequence for delivery in writer.written] == first + second
    assert (told.events, told.more) == (700, False)
    assert told.sequences == [(first[0], second[-1])]
    assert told.written.inserted == {"rows": 700}


async def test_it_stops_at_most_events(nats_server: NatsServer) -> None:
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(30))
    some = await filled(nats_server, FakeWriter(), most_events=20)
    assert (some.events, some.more) == (20, True)
    everything = await filled(nats_server, FakeWriter(), most_events=30)
    assert (everything.events, everything.more) == (30, False)


async def test_references_are_resolved_and_memory_is_bounded(nats_server: NatsServer) -> None:
    writer = FakeWriter()
    told: list[Drained] = []

    async def note(batch: Drained) -> None:
        told.append(batch)

    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(2))
        size = BATCH_BYTES // 2 + 1
        bodies = [(await publish_reference(js, PERSIST, n, size))[1] for n in range(2, 5)]
    whole = await filled(nats_server, writer, settled=note)
    assert [d.data for d in writer.written[2:]] == bodies
    assert [batch.events for batch in told] == [4, 1]
    assert told[1].exchange == ("t4", "c4")
    assert whole.events == 5


async def test_what_cannot_be_written_is_counted_and_nothing_is_buried(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    writer.reject = lambda d: "odd" if d.event_id.endswith(":1") else ""
    async with jetstream(nats_server) as js:
        sequences = list((await publish_bodies(js, PERSIST, range(3))).values())
        await publish_reference(js, PERSIST, 3, 1000)
        assert await Payloads(js).remove(f"{PERSIST}:3")
    told = await filled(nats_server, writer)
    assert (told.events, told.retried, told.buried) == (2, 2, 0)
    assert writer.buried == []
    assert [pair[0] for pair in told.sequences] == [sequences[0], sequences[2]]


async def test_without_a_stream_there_is_nothing_and_without_a_part_it_says_so(
    nats_server: NatsServer,
) -> None:
    assert (await filled(nats_server, FakeWriter())).events == 0
    away = FakeWriter()
    away.away = True
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(3))
    with pytest.raises(PartUnavailable, match="PostgreSQL: away"):
        await filled(nats_server, away, patience_s=0.2)
    nats_server.kill()
    with pytest.raises(PartUnavailable, match="NATS: "):
        await filled(nats_server, FakeWriter())


async def _moment() -> float:
    """Now, with the server's clock past what was published before and short of what comes."""
    await asyncio.sleep(0.01)
    moment = time.time()
    await asyncio.sleep(0.01)
    return moment
