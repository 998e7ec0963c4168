"""Searches through the real streams, and how far the real durables are."""

from contextlib import aclosing

from nats.js.api import ConsumerConfig

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES
from appliance.infra.nats.reader.lookup import Budget, Search, open_lookup
from appliance.infra.nats.reader.range import visit
from appliance.infra.nats.streams import ensure_streams
from tests.fixtures_nats import NatsServer

STREAM = "PIPELINE"


async def _publish(server: NatsServer, count: int) -> int:
    """`count` events t0, t1, …, one of each on PERSIST; the sequence of the first."""
    async with visit(server.config) as client:
        js = client.jetstream()
        await ensure_streams(js, 1)
        acks = [
            await js.publish(
                PERSIST, f'{{"n":"thread {n % 2}"}}'.encode(), headers={"Nats-Msg-Id": f"t{n}:s"}
            )
            for n in range(count)
        ]
    return acks[0].seq


async def _found(server: NatsServer, search: Search, budget: Budget | None = None) -> list[str]:
    async with (
        open_lookup(server.config) as lookup,
        aclosing(lookup.search(search, budget or Budget(10_000, 10))) as found,
    ):
        return [stored.event_id async for stored in found]


async def test_trace_ids_are_found_by_event_ids_and_a_text_in_the_data(
    nats_server: NatsServer,
) -> None:
    await _publish(nats_server, 6)
    by_id = Search(stream=STREAM, trace_ids=frozenset(("t1", "t4")))
    assert await _found(nats_server, by_id) == ["t1:s", "t4:s"]
    by_text = Search(stream=STREAM, text=b"thread 1")
    assert await _found(nats_server, by_text) == ["t1:s", "t3:s", "t5:s"]


async def test_a_search_has_two_ends(nats_server: NatsServer) -> None:
    first = await _publish(nats_server, 6)
    between = Search(stream=STREAM, sequence=first + 1, last=first + 3, text=b"thread")
    assert await _found(nats_server, between) == ["t1:s", "t2:s", "t3:s"]
    everything = Search(stream=STREAM, since=0.0, text=b"thread")
    assert len(await _found(nats_server, everything)) == 6
    before = Search(stream=STREAM, since=0.0, until=1.0, text=b"thread")
    assert await _found(nats_server, before) == []


async def test_a_budget_ends_a_search_and_shows_it(nats_server: NatsServer) -> None:
    await _publish(nats_server, 501)
    budget = Budget(messages=500, seconds=10)
    found = await _found(nats_server, Search(stream=STREAM, trace_ids=frozenset(("t500",))), budget)
    assert (found, budget.messages) == ([], 0)


async def test_a_stream_that_is_not_there_has_nothing(nats_server: NatsServer) -> None:
    assert await _found(nats_server, Search(stream=STREAM, text=b"x")) == []
    async with open_lookup(nats_server.config) as lookup:
        assert await lookup.ack_floors() == {}


async def test_a_durable_without_work_has_acked_all_there_is(nats_server: NatsServer) -> None:
    first = await _publish(nats_server, 3)
    async with visit(nats_server.config) as client:
        js = client.jetstream()
        for subject, durable in list(DURABLES.items())[:2]:
            config = ConsumerConfig(filter_subject=subject)
            pull = await js.pull_subscribe(subject, durable.name, stream=STREAM, config=config)
            if subject == PERSIST:
                [message] = await pull.fetch(1)
                await message.ack_sync()
    async with open_lookup(nats_server.config) as lookup:
        floors = await lookup.ack_floors()
    assert floors == {"chat_persist": first, "embedding": first + 2}
