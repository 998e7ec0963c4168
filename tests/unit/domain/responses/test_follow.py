"""Reading a response again, or while it is produced: here, elsewhere, and after its gateway's
death.  No frame comes twice, and none is missing."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import NotFound, PartUnavailable
from appliance.domain.responses.production import Production
from appliance.domain.responses.record import StoredResponse
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.response_reader import Reading
from tests.fakes.responses import (
    Gateway,
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    read,
    words,
)
from tests.fakes.until import WAIT_S

WHOLE = ["opening", "a", "b", "c", "close", "completed store=True"]


def gated() -> tuple[FakeBackend, asyncio.Event]:
    """Says a, and b and c once the event is set."""
    go = asyncio.Event()
    return FakeBackend("local", ([Delta(text="a"), go, *said("b", "c")],)), go


async def producing(one: Gateway) -> Production:
    """One whose first frames are out."""
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    return production


async def replay(one: Gateway, after: int = -1) -> bytes:
    return await read(await one.service.replay("resp_t1", caller("t9"), starting_after=after))


async def settle(reading: "asyncio.Future[bytes]") -> None:
    """Let a reader come as far as it can: it needs turns of the loop, not time."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not reading.done()


@pytest.mark.parametrize("after", [-1, 0, 1, 4])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_it_is_followed_while_it_is_produced(elsewhere: bool, after: int) -> None:
    store, events, go, end = MemoryResponses(), MemoryEvents(), asyncio.Event(), asyncio.Event()
    *middle, last = said("b", "c")
    one = gateway(store, events, FakeBackend("local", ([Delta(text="a"), go, *middle, end, last],)))
    reader = gateway(store, events) if elsewhere else one
    production = await producing(one)
    making = asyncio.ensure_future(read(production.frames()))
    reading = Reading(reader, after)
    await reading.has(len(WHOLE[after + 1 : 2]))
    go.set()
    await reading.has(len(WHOLE[after + 1 : 4]))
    end.set()
    assert words(await making) == WHOLE
    assert await reading.end() == WHOLE[after + 1 :]
    assert words(await replay(reader, after)) == WHOLE[after + 1 :]  # and of the row


@pytest.mark.parametrize("after", [5, 6, 1000])
async def test_beyond_the_end_there_is_nothing(after: int) -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, go = gated()
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await producing(one)
    making = asyncio.ensure_future(read(production.frames()))
    readings = [asyncio.ensure_future(replay(each, after)) for each in (one, other)]
    for reading in readings:
        await settle(reading)
    go.set()
    await making
    assert [await reading for reading in readings] == [b"", b""]
    assert await replay(other, after) == b""


async def made_and_read(events: MemoryEvents, first: int) -> list[str]:
    """What another gateway reads of one that is made to its end once `first` frames are there."""
    store, (backend, go) = MemoryResponses(), gated()
    one, other = gateway(store, events, backend, lease_s=0.1), gateway(store, events, lease_s=0.1)
    production = await producing(one)
    making = asyncio.ensure_future(read(production.frames()))
    reading = Reading(other)
    await reading.has(first)
    go.set()
    assert words(await making) == WHOLE
    return await reading.end()


async def test_without_nats_another_gateway_reads_it_when_it_is_whole() -> None:
    assert await made_and_read(MemoryEvents(away=True), 0) == WHOLE


async def test_a_piece_that_was_lost_is_read_from_the_row() -> None:
    assert await made_and_read(MemoryEvents(drops=lambda piece: b" b" in piece.frames), 2) == WHOLE


async def test_a_last_piece_that_was_lost_is_read_from_the_row() -> None:
    assert await made_and_read(MemoryEvents(drops=lambda piece: piece.last), 2) == WHOLE


@pytest.mark.parametrize("by_round", [False, True])
async def test_one_whose_gateway_died_has_failed_with_what_it_had_said(by_round: bool) -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, _ = gated()
    one, other = gateway(store, events, backend), gateway(store, events, lease_s=0.1)
    production = await producing(one)
    assert words(await anext(production.frames())) == ["opening", "a"]
    reading = Reading(other)
    await reading.has(2)
    store.expire()
    if by_round:
        await other.service.look_after_orphans()
    frames = await reading.end()
    assert frames == ["opening", "a", "failed The gateway that produced this response is gone."]
    resource = json.loads(await other.service.get("resp_t1", caller("t9")))
    assert resource["status"] == "failed"
    assert words(await replay(other)) == frames
    await production.close()


async def test_an_orphan_is_found_when_it_is_read() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, _ = gated()
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await producing(one)
    store.expire()
    resource = json.loads(await other.service.get("resp_t1", caller("t9")))
    assert resource["status"] == "failed"
    await production.close()


async def test_a_gateway_taken_for_dead_says_that_its_answer_is_not_stored() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, go = gated()
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await producing(one)
    store.expire()
    await other.service.look_after_orphans()
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=False"
    assert store.rows["resp_t1"].status == "failed"


async def test_one_whose_client_was_told_that_it_is_not_stored_is_not_there() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, go = gated()
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await producing(one)
    store.away = True
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=False"
    store.away = False  # and the gateway dies before it can delete the row
    store.expire()
    with pytest.raises(NotFound):
        await other.service.get("resp_t1", caller("t9"))
    assert store.rows == {}


async def test_a_reader_that_knows_more_than_the_row_is_told_that_it_ends() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, _ = gated()
    one, other = gateway(store, events, backend), gateway(store, events, lease_s=0.1)
    production = await producing(one)
    await anext(production.frames())
    reading = Reading(other)
    await reading.has(2)
    events.pieces.clear()
    await store.finish("resp_t1", "failed", b"{}", b"data: 0 failed\n\n")
    assert (await reading.end())[-1].startswith("error")
    await production.close()


@pytest.mark.parametrize("after", [0, 1, 7])
async def test_who_has_more_of_one_that_failed_than_the_row_is_told_that_it_ended(
    after: int,
) -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, _ = gated()
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await producing(one)
    await store.finish("resp_t1", "failed", b"{}", b"data: 0 failed\n\n")
    await production.close()
    assert words(await replay(other, after)) == [
        "error This response has failed, and nothing more is kept of it."
    ]


async def test_a_reader_of_one_that_is_deleted_is_told_so() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, _ = gated()
    one, other = gateway(store, events, backend), gateway(store, events, lease_s=0.1)
    production = await producing(one)
    await anext(production.frames())
    reading = Reading(other)
    await reading.has(2)
    await one.service.delete("resp_t1", caller("t9"))
    assert (await reading.end())[-1].startswith("error")
    await production.close()


class Asked(MemoryResponses):
    """Counts the questions it was away for."""

    refused = 0

    async def chain(self, response_id: str, *, most: int) -> Sequence[StoredResponse]:
        self.refused += self.away
        return await super().chain(response_id, most=most)


async def test_a_reader_waits_while_postgresql_is_away() -> None:
    store, events, (backend, go) = Asked(), MemoryEvents(), gated()
    one, other = gateway(store, events, backend), gateway(store, events, lease_s=0.05)
    production = await producing(one)
    making = asyncio.ensure_future(read(production.frames()))
    reading = Reading(other)
    await reading.has(2)
    store.away = events.away = True
    async with asyncio.timeout(WAIT_S):
        while store.refused < 2:
            await asyncio.sleep(0.001)
    await reading.has(2)
    store.away = False
    go.set()
    await making
    assert await reading.end() == WHOLE


async def test_without_postgresql_nothing_is_read() -> None:
    store = MemoryResponses()
    store.away = True
    with pytest.raises(PartUnavailable):
        await gateway(store, MemoryEvents()).service.get("resp_t1", caller("t9"))
