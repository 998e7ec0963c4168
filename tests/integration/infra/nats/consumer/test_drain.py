"""A durable emptied once, against a real NATS server, with a writer that remembers."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config.schema import ConsumerConfig, NatsConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery, Written
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.nats.consumer.drain import drain
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.nats.consumer.pull import REQUEST_BYTES
from appliance.infra.nats.objects import Payloads
from tests.fakes.batch_writer import FakeWriter
from tests.fakes.consumer import jetstream
from tests.fakes.published import publish_bodies, publish_reference
from tests.fixtures_nats import NatsServer

CHAT = of_dagster(DURABLES[PERSIST])
SETTINGS = ConsumerConfig(batch_messages=50, ack_wait_s=30.0, max_deliver=3)


async def drained(
    server: NatsServer, writer: FakeWriter, *, most_events: int = 100_000, **more: Any
) -> Drained:
    """All of CHAT through `writer`."""
    more = {"consumer": SETTINGS, "patience_s": 10.0, **more}
    async with asyncio.timeout(150):
        return await drain(server.config, CHAT, writer, most_events=most_events, **more)


async def waiting(js: Any) -> tuple[int, int]:
    """Of CHAT: pending and unacked, as the server has it at this moment."""
    info = await js.consumer_info("PIPELINE", CHAT.name)
    return info.num_pending, info.num_ack_pending


def covered(ranges: Iterable[tuple[int, int]], sequences: Iterable[int]) -> set[int]:
    """Those of `sequences` that lie in `ranges`."""
    return {s for s in sequences if any(first <= s <= last for first, last in ranges)}


def ids(numbers: Iterable[int]) -> set[str]:
    return {f"{PERSIST}:{number}" for number in numbers}


async def test_when_it_returns_everything_is_written_and_the_server_has_every_ack(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    async with jetstream(nats_server) as js:
        sequences: list[int] = []
        for start in range(0, 1210, 110):
            sequences += (await publish_bodies(js, PERSIST, range(start, start + 110))).values()
            await publish_bodies(js, TOOL_CALL, range(start, start + 3))
        told = await drained(nats_server, writer)
        assert await waiting(js) == (0, 0)
    assert [delivery.sequence for delivery in writer.written] == sequences
    assert (told.events, told.retried, told.buried, told.more) == (1210, 0, 0, False)
    assert told.sequences == [(sequences[0], sequences[-1])]
    assert told.written.inserted == {"rows": 1210}
    assert told.oldest == "2026-11-21T14:00:00.000000Z"
    assert told.newest == "2026-11-21T14:20:09.000000Z"
    assert told.exchange is None


async def test_nothing_waits_in_an_empty_stream_and_without_one(nats_server: NatsServer) -> None:
    without = await drained(nats_server, FakeWriter())
    async with jetstream(nats_server):
        empty = await drained(nats_server, FakeWriter())
    assert without == empty
    assert (empty.events, empty.sequences, empty.more, empty.oldest) == (0, [], False, None)


async def test_it_stops_at_most_events_and_takes_no_more_than_that(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(200))
        first = await drained(nats_server, writer, most_events=120)
        assert (first.events, first.more) == (120, True)
        assert await waiting(js) == (80, 0)
        second = await drained(nats_server, writer, most_events=80)
        assert (second.events, second.more) == (80, False)
    assert {delivery.deliveries for delivery in writer.written} == {1}
    assert set(writer.ids) == ids(range(200))
    assert first.sequences[0][1] < second.sequences[0][0]


async def test_two_at_once_share_without_loss_and_say_exactly_what_each_had(
    nats_server: NatsServer,
) -> None:
    class Slow(FakeWriter):
        async def write(self, batch: Sequence[Delivery]) -> Written:
            await asyncio.sleep(0.005)  # so that neither takes everything
            return await super().write(batch)

    one, other = Slow(), Slow()
    settings = msgspec.structs.replace(SETTINGS, batch_messages=10)
    async with jetstream(nats_server) as js:
        published = (await publish_bodies(js, PERSIST, range(600))).values()
        told = await asyncio.gather(
            drained(nats_server, one, consumer=settings),
            drained(nats_server, other, consumer=settings),
        )
        assert await waiting(js) == (0, 0)
    assert sorted(one.ids + other.ids) == sorted(ids(range(600)))
    for drain_told, writer in zip(told, (one, other), strict=True):
        mine = {delivery.sequence for delivery in writer.written}
        assert 0 < len(mine) < 600
        assert covered(drain_told.sequences, published) == mine


async def test_each_driver_gets_every_event(nats_server: NatsServer) -> None:
    role, dagster = FakeWriter(), FakeWriter()
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(60))
        durable = DURABLES[PERSIST]
        await drain(nats_server.config, durable, role, consumer=SETTINGS, most_events=1000)
        await drained(nats_server, dagster)
    assert set(role.ids) == set(dagster.ids) == ids(range(60))


async def test_what_was_committed_and_not_acked_when_it_is_cancelled_comes_again(
    nats_server: NatsServer,
) -> None:
    writer, reached = FakeWriter(), asyncio.Event()

    async def hang(batch: Drained) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(120))
        settings = msgspec.structs.replace(SETTINGS, ack_wait_s=600.0)
        running = asyncio.create_task(drained(nats_server, writer, settled=hang, consumer=settings))
        await asyncio.wait_for(reached.wait(), 60)
        assert len(writer.written) == 50
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        again = FakeWriter()  # at once: what was in hand and on its way was given back
        told = await drained(nats_server, again, consumer=settings)
        assert await waiting(js) == (0, 0)
    assert set(again.ids) == ids(range(120))
    assert told.events == 120


@pytest.mark.parametrize("error", [RuntimeError("no"), ConnectionResetError("no")])
async def test_what_settled_raises_is_raised_and_its_batch_comes_again(
    nats_server: NatsServer, error: Exception
) -> None:
    told: list[Drained] = []

    async def refuse_second(batch: Drained) -> None:
        told.append(batch)
        if len(told) == 2:
            raise error

    writer, again = FakeWriter(), FakeWriter()
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(120))
        with pytest.raises(type(error), match="no"):
            await drained(nats_server, writer, settled=refuse_second)
        await drained(nats_server, again)
    assert [batch.events for batch in told] == [50, 50]
    assert len(writer.written) == 100
    assert set(again.ids) == ids(range(50, 120))


async def test_settled_is_told_of_each_batch_what_it_was(nats_server: NatsServer) -> None:
    told: list[Drained] = []

    async def note(batch: Drained) -> None:
        told.append(batch)

    async with jetstream(nats_server) as js:
        sequences = list((await publish_bodies(js, PERSIST, range(60))).values())
        await publish_reference(js, PERSIST, 60, 5000)
        whole = await drained(nats_server, FakeWriter(), settled=note)
    assert [batch.events for batch in told] == [50, 10, 1]
    assert told[0].sequences == [(sequences[0], sequences[49])]
    assert told[2].exchange == ("t60", "c60")
    assert whole.events == 61
    assert whole.sequences == [(sequences[0], told[2].sequences[0][1])]


async def test_what_cannot_be_written_is_tried_again_by_itself_and_buried_and_in_no_range(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    writer.reject = lambda d: "odd" if d.event_id.endswith(":3") else ""
    async with jetstream(nats_server) as js:
        sequences = await publish_bodies(js, PERSIST, range(8))
        told = await drained(nats_server, writer)
        assert await waiting(js) == (0, 0)
    (dead,) = writer.buried
    assert (dead.delivery.event_id, dead.delivery.deliveries) == (f"{PERSIST}:3", 3)
    assert (told.events, told.retried, told.buried) == (7, 2, 1)
    assert covered(told.sequences, sequences.values()) == {
        sequence for name, sequence in sequences.items() if not name.endswith(":3")
    }
    assert told.written.rejected == []


async def test_a_reference_is_resolved_and_one_without_its_payload_is_buried(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(2))
        sequence, body = await publish_reference(js, PERSIST, 2, 300_000)
        gone, _ = await publish_reference(js, PERSIST, 3, 1000)
        assert await Payloads(js).remove(f"{PERSIST}:3")
        told = await drained(nats_server, writer)
        assert await waiting(js) == (0, 0)
    assert {d.sequence: d.data for d in writer.written}[sequence] == body
    assert [dead.delivery.sequence for dead in writer.buried] == [gone]
    assert (told.events, told.buried, told.sequences) == (3, 1, [(sequence - 2, sequence)])


async def test_without_the_database_it_raises_and_everything_comes_again(
    nats_server: NatsServer,
) -> None:
    writer, again = FakeWriter(), FakeWriter()
    writer.away = True
    settings = msgspec.structs.replace(SETTINGS, ack_wait_s=600.0)
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(120))
        with pytest.raises(PartUnavailable, match="PostgreSQL: away"):
            await drained(nats_server, writer, patience_s=0.3, consumer=settings)
        await drained(nats_server, again, consumer=settings)
    assert set(again.ids) == ids(range(120))


async def test_a_server_that_restarts_with_a_batch_in_hand_is_waited_for_and_gets_its_acks(
    nats_server: NatsServer,
) -> None:
    writer = FakeWriter()
    writer.gate.clear()
    settings = msgspec.structs.replace(SETTINGS, ack_wait_s=600.0)
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(40))
        running = asyncio.create_task(drained(nats_server, writer, consumer=settings))
        await asyncio.wait_for(writer.begun.wait(), 60)
    nats_server.kill()
    writer.gate.set()
    nats_server.start()
    told = await running
    async with jetstream(nats_server) as js:
        assert await waiting(js) == (0, 0)
    assert set(writer.ids) == ids(range(40))
    assert told.events >= 40


async def test_a_server_that_stays_away_is_not_waited_for_long(nats_server: NatsServer) -> None:
    writer = FakeWriter()
    writer.gate.clear()
    async with jetstream(nats_server) as js:
        await publish_bodies(js, PERSIST, range(10))
    running = asyncio.create_task(drained(nats_server, writer, patience_s=0.5))
    await asyncio.wait_for(writer.begun.wait(), 60)
    nats_server.kill()
    writer.gate.set()
    with pytest.raises(PartUnavailable, match="NATS: "):
        await running
    with pytest.raises(PartUnavailable, match="NATS: no server answers"):
        await drained(nats_server, writer, patience_s=0.5)
    with pytest.raises(PartUnavailable, match="is not configured"):
        await drain(NatsConfig(url=""), CHAT, writer, consumer=SETTINGS, most_events=1)


async def test_messages_larger_than_a_request_pass_between_others(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, max_payload=64 * 1024 * 1024)
    server.start()
    writer = FakeWriter()
    try:
        async with jetstream(server) as js:
            await publish_bodies(js, PERSIST, range(3))
            await publish_bodies(js, PERSIST, range(3, 5), size=REQUEST_BYTES + 1)
            await publish_bodies(js, PERSIST, range(5, 9), size=REQUEST_BYTES // 3)
            await publish_bodies(js, PERSIST, range(9, 11))
            told = await drained(server, writer)
            assert await waiting(js) == (0, 0)
    finally:
        server.kill()
    assert set(writer.ids) == ids(range(11))
    assert len(told.sequences) == 1
