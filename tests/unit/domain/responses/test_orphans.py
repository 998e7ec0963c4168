"""Who is taken for an orphan, and what is left of one."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from appliance.domain.conversation.stream import Delta
from appliance.domain.responses.orphans import PATIENCE_S, Orphans
from appliance.domain.responses.ports import Piece
from appliance.domain.responses.production import Production
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.responses import (
    WIRE,
    Gateway,
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    read,
    words,
)
from tests.fakes.stored_responses import response
from tests.fakes.until import WAIT_S

GONE = "failed The gateway that produced this response is gone."
Answer = list[Delta | Exception | float | asyncio.Event]
SAID = Piece(0, b"data: 0 opening\n\ndata: 1 a\n\n")


class Later:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Forgetful(MemoryEvents):
    """Nothing is kept here of what those who followed have had."""

    async def kept(self, trace_id: str) -> tuple[Piece, ...]:
        await asyncio.sleep(0)
        return ()


async def orphaned(store: MemoryResponses) -> None:
    """A row that nobody renews, of trace `t`."""
    await store.create(response("t", status="in_progress"), lease_s=0)


async def until_said(chunks: AsyncGenerator[bytes, None], word: str) -> list[str]:
    """What came before `word`, and it."""
    got: list[str] = []
    while word not in got:
        got += words(await anext(chunks))
    return got


async def streaming(one: Gateway) -> Production:
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    return production


async def test_an_orphan_waits_for_events_that_are_away_and_loses_nothing() -> None:
    store, events, clock = MemoryResponses(), MemoryEvents({"t": [SAID]}), Later()
    orphans = Orphans(store, events, WIRE, clock)
    await orphaned(store)
    (row,) = await store.orphans((), most=9)
    events.away = True
    assert await orphans.resolved(row) == row
    clock.now += PATIENCE_S - 1
    assert await orphans.resolved(row) == row
    assert store.rows[row.id].status == "in_progress"
    events.away = False
    resolved = await orphans.resolved(row)
    assert resolved is not None
    assert words(resolved.events) == ["opening", "a", GONE]


async def test_an_orphan_whose_events_stay_away_fails_without_them() -> None:
    store, events, clock = MemoryResponses(), MemoryEvents({"t": [SAID]}, away=True), Later()
    orphans = Orphans(store, events, WIRE, clock)
    await orphaned(store)
    (row,) = await store.orphans((), most=9)
    assert await orphans.resolved(row) == row
    clock.now += PATIENCE_S
    resolved = await orphans.resolved(row)
    assert resolved is not None
    assert (resolved.status, words(resolved.events)) == ("failed", [GONE])


async def test_the_gateway_goes_on_while_an_orphan_is_made_whole() -> None:
    store, others = MemoryResponses(), threading.Event()
    waited = list[bool]()

    def slowly(resource: bytes, events: bytes, message: str) -> tuple[bytes, bytes]:
        waited.append(others.wait(WAIT_S / 10))
        return WIRE.rebuilt(resource, events, message)

    events = MemoryEvents({"t": [SAID]})
    other = gateway(store, events, wire=replace(WIRE, rebuilt=slowly))
    await orphaned(store)
    looking = asyncio.ensure_future(other.service.look_after_orphans())
    asyncio.get_running_loop().call_later(0.01, others.set)
    await looking
    assert waited == [True]


async def test_what_a_gateway_produces_itself_is_none_of_its_orphans() -> None:
    """It was frozen for longer than a lease."""
    store, events, go = MemoryResponses(), MemoryEvents(), asyncio.Event()
    answer: Answer = [Delta(text="a"), go, *said("b")]
    one = gateway(store, events, FakeBackend("local", (answer, answer)))
    streamed = await streaming(one)
    background = await one.service.begin(asked(background=True), caller("t2"))
    await background.open()
    store.expire()
    await one.service.look_after_orphans()
    await one.service.renew()
    go.set()
    assert words(await read(streamed.frames()))[-1] == "completed store=True"
    assert words(await read(await one.service.replay("resp_t2", caller("t9"))))[-1] == (
        "completed store=True"
    )
    assert [row.status for row in store.rows.values()] == ["completed", "completed"]
    assert store.cancels == set()


async def test_who_follows_with_more_than_was_found_of_it_is_told_that_it_ended() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    answer: Answer = [Delta(text="a"), Delta(text="b"), asyncio.Event()]
    one = gateway(store, events, FakeBackend("local", (answer,)))
    other = gateway(store, Forgetful(events.pieces))
    production = await streaming(one)
    async with (
        aclosing(production.frames()) as frames,
        aclosing(await gateway(store, events).service.replay("resp_t1", caller("t9"))) as chunks,
    ):
        await until_said(frames, "b")
        assert await until_said(chunks, "b") == ["opening", "a", "b"]
        store.expire()
        await other.service.look_after_orphans()
        async with asyncio.timeout(WAIT_S):
            assert await read(chunks) == (
                b"data: 3 error This response has failed, and nothing more is kept of it.\n\n"
            )
    await production.close()


async def test_who_follows_with_less_than_was_found_of_it_gets_the_rest() -> None:
    store, events = MemoryResponses(), MemoryEvents(drops=lambda piece: b" b" in piece.frames)
    go = asyncio.Event()
    answer: Answer = [Delta(text="a"), go, Delta(text="b"), asyncio.Event()]
    one = gateway(store, events, FakeBackend("local", (answer,)))
    production = await streaming(one)
    kept = MemoryEvents({"t1": [Piece(0, SAID.frames), Piece(2, b"data: 2 b\n\n")]})
    other = gateway(store, kept)
    async with (
        aclosing(production.frames()) as frames,
        aclosing(await gateway(store, events).service.replay("resp_t1", caller("t9"))) as chunks,
    ):
        await until_said(frames, "a")
        first = await until_said(chunks, "a")
        go.set()
        await until_said(frames, "b")
        store.expire()
        await other.service.look_after_orphans()
        events.pieces["t1"] += kept.pieces["t1"][-1:]
        async with asyncio.timeout(WAIT_S):
            assert first + words(await read(chunks)) == ["opening", "a", "b", GONE]
    await production.close()
