"""A background response: it outlives its request, is cancelled by anybody who may, and is never
left in progress."""

import asyncio
import json

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import (
    BackendBusy,
    InvalidRequest,
    NotFound,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.responses.record import Status
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.response_reader import Reading
from tests.fakes.responses import (
    Gateway,
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    words,
)


async def begun(one: Gateway, trace_id: str = "t1", key: str = "", **fields: bool) -> bytes:
    """What its client gets."""
    production = await one.service.begin(asked(background=True, **fields), caller(trace_id, key))
    return await production.once()


def endless() -> FakeBackend:
    return FakeBackend("local", ([Delta(text="Hi"), asyncio.Event(), *said("never")],))


async def status_of(one: Gateway, response_id: str = "resp_t1") -> str:
    return str(json.loads(await one.service.get(response_id, caller("t9")))["status"])


async def whole(one: Gateway, store: MemoryResponses, response_id: str = "resp_t1") -> str:
    """The status of its row, once its task is over."""
    async with asyncio.timeout(60):
        while one.service._context.in_progress.get(response_id):
            await asyncio.sleep(0.001)
    return store.rows[response_id].status


async def test_its_client_gets_it_queued_and_it_goes_on_without_one() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    assert json.loads(await begun(one))["status"] == "queued"
    assert await whole(one, store) == "completed"
    assert words(store.rows["resp_t1"].events) == [
        "queued",
        "opening",
        "Hel",
        "lo",
        "close",
        "completed store=True",
    ]
    assert await status_of(one) == "completed"


async def test_a_client_that_streams_it_may_leave() -> None:
    store = MemoryResponses()
    go = asyncio.Event()
    one = gateway(
        store, MemoryEvents(), FakeBackend("local", ([Delta(text="Hi"), go, *said("!")],))
    )
    production = await one.service.begin(asked(background=True, stream=True), caller("t1"))
    await production.open()
    frames = production.frames()
    assert words(await anext(frames))[0] == "queued"
    await frames.aclose()
    await production.close()
    assert await status_of(one) == "in_progress"
    go.set()
    assert await whole(one, store) == "completed"


async def test_a_cancel_ends_it_with_what_it_had_said() -> None:
    store = MemoryResponses()
    backend = endless()
    one = gateway(store, MemoryEvents(), backend)
    await begun(one)
    while b"Hi" not in await one.service.get("resp_t1", caller("t2")):
        await asyncio.sleep(0.001)
    cancelled = json.loads(await one.service.cancel("resp_t1", caller("t2")))
    assert (cancelled["status"], cancelled["output"]) == ("cancelled", "Hi")
    assert (backend.open, backend.aborted) == (0, 1)
    assert store.rows["resp_t1"].status == "cancelled"
    assert [exchange.status for exchange in one.exchanges.kept] == ["cancelled"]


async def test_a_cancel_before_anything_happened_counts() -> None:
    store = MemoryResponses()
    backend = endless()
    one = gateway(store, MemoryEvents(), backend)
    await begun(one)
    cancelled = json.loads(await one.service.cancel("resp_t1", caller("t2")))
    assert cancelled["status"] == store.rows["resp_t1"].status == "cancelled"
    assert [exchange.status for exchange in one.exchanges.kept] == ["cancelled"]


async def test_a_cancel_that_comes_too_late_returns_it_whole() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    await begun(one)
    assert await whole(one, store) == "completed"
    assert json.loads(await one.service.cancel("resp_t1", caller("t2")))["status"] == "completed"


@pytest.mark.parametrize("nats_away", [False, True])
async def test_another_gateway_cancels_it(nats_away: bool) -> None:
    store, events = MemoryResponses(), MemoryEvents()
    one = gateway(store, events, endless(), lease_s=0.1)
    other = gateway(store, events)
    upkeep = asyncio.ensure_future(one.service.maintain())
    events.away = nats_away
    await begun(one)
    cancelled = json.loads(await other.service.cancel("resp_t1", caller("t2")))
    upkeep.cancel()
    assert cancelled["status"] == "cancelled"
    assert store.rows["resp_t1"].status == "cancelled"


async def test_only_a_background_response_can_be_cancelled() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    one = gateway(store, events, endless())
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    for each in (one, gateway(store, events)):
        with pytest.raises(InvalidRequest):
            await each.service.cancel("resp_t1", caller("t2"))
    await production.close()


async def test_another_key_sees_nothing_of_it() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), endless())
    await begun(one, key="alice")
    for ask in (one.service.get, one.service.cancel, one.service.delete, one.service.replay):
        with pytest.raises(NotFound):
            await ask("resp_t1", caller("t2", "bob"))
    await one.service.cancel("resp_t1", caller("t3", "alice"))
    for ask in (one.service.get, one.service.cancel, one.service.delete, one.service.replay):
        with pytest.raises(NotFound):
            await ask("resp_t1", caller("t2", "bob"))
    assert await one.service.get("resp_t1", caller("t3", "alice"))


async def test_a_deleted_one_is_cancelled_and_does_not_come_back() -> None:
    store = MemoryResponses()
    backend = endless()
    one = gateway(store, MemoryEvents(), backend)
    await begun(one)
    reading = Reading(one)
    await reading.has(3)
    await one.service.delete("resp_t1", caller("t2"))
    await one.service.close()
    assert (backend.open, backend.aborted, store.rows) == (0, 1, {})
    frames = await reading.end()
    assert frames[:3] == ["queued", "opening", "Hi"]
    assert frames[-1].startswith("error")


async def test_only_so_many_run_at_once() -> None:
    one = gateway(MemoryResponses(), MemoryEvents(), endless(), max_background=2)
    await begun(one, "t1")
    await begun(one, "t2")
    with pytest.raises(BackendBusy):
        await begun(one, "t3")
    await one.service.cancel("resp_t1", caller("t4"))
    await begun(one, "t5")


@pytest.mark.parametrize(("fields", "limits"), [({"store": False}, {}), ({}, {"unstored": "off"})])
async def test_it_must_be_stored(fields: dict, limits: dict) -> None:
    one = gateway(MemoryResponses(), MemoryEvents(), **limits)
    with pytest.raises(InvalidRequest):
        await begun(one, **fields)


async def test_without_postgresql_there_is_none() -> None:
    store = MemoryResponses()
    backend = endless()
    one = gateway(store, MemoryEvents(), backend)
    store.away = True
    with pytest.raises(PartUnavailable) as failed:
        await begun(one)
    assert failed.value.part == "postgres"
    assert (backend.asked, one.service._context.in_progress.background) == ([], 0)


async def test_its_row_is_written_when_postgresql_is_back() -> None:
    store = MemoryResponses()
    go = asyncio.Event()
    one = gateway(store, MemoryEvents(), FakeBackend("local", ([go, *said("Hi")],)))
    await begun(one)
    store.away = True
    go.set()
    while not one.reported:
        await asyncio.sleep(0.01)
    assert one.reported[0][0] == "response_not_stored_yet"
    store.away = False
    assert await whole(one, store) == "completed"


class Counting(MemoryResponses):
    """Counts how often a row was to be made whole."""

    tries = 0

    async def finish(
        self, response_id: str, status: Status, resource: bytes, events: bytes
    ) -> bool:
        self.tries += 1
        return await super().finish(response_id, status, resource, events)


async def test_that_its_row_waits_is_said_once() -> None:
    store = Counting()
    go = asyncio.Event()
    one = gateway(store, MemoryEvents(), FakeBackend("local", ([go, *said("Hi")],)))
    await begun(one)
    store.away = True
    go.set()
    while store.tries < 3:
        await asyncio.sleep(0.01)
    assert [event for event, _ in one.reported] == ["response_not_stored_yet"]
    store.away = False
    assert await whole(one, store) == "completed"


class Refusing(Counting):
    """Takes no whole row."""

    async def finish(
        self, response_id: str, status: Status, resource: bytes, events: bytes
    ) -> bool:
        self.tries += 1
        raise ValueError("it is not for this table")


async def test_a_row_that_is_refused_is_tried_once() -> None:
    store = Refusing()
    one = gateway(store, MemoryEvents())
    await begun(one)
    async with asyncio.timeout(60):
        while one.service._context.in_progress.get("resp_t1"):
            await asyncio.sleep(0.001)
    assert (store.tries, [event for event, _ in one.reported]) == (1, ["response_not_stored"])
    await one.service._context.rows.delete_unwanted()
    assert store.rows == {}


async def test_one_whose_input_alone_is_too_large_is_refused() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), max_bytes=150)
    production = await one.service.begin(asked("x" * 200, background=True), caller("t1"))
    with pytest.raises(RequestTooLarge):
        await production.once()
    assert (store.rows, one.service._context.in_progress.background) == ({}, 0)


async def test_what_is_too_large_to_be_kept_fails() -> None:
    store = MemoryResponses()
    one = gateway(
        store, MemoryEvents(), FakeBackend("local", (said("x" * 400, "y" * 400),)), max_bytes=500
    )
    await begun(one)
    assert await whole(one, store) == "failed"
    assert "max_bytes" in words(store.rows["resp_t1"].events)[-1]
    assert [exchange.status for exchange in one.exchanges.kept] == ["failed"]


async def test_the_backend_of_what_is_too_large_is_left_before_its_row_is_written() -> None:
    store = MemoryResponses()
    backend = FakeBackend("local", ([Delta(text="x" * 600), asyncio.Event(), *said("never")],))
    one = gateway(store, MemoryEvents(), backend, max_bytes=500)
    await begun(one)
    store.away = True
    while not one.reported:
        await asyncio.sleep(0)
    assert (backend.open, backend.aborted) == (0, 1)
    store.away = False
    assert await whole(one, store) == "failed"


async def test_a_gateway_that_stops_leaves_none_in_progress() -> None:
    store = MemoryResponses()
    backend = endless()
    one = gateway(store, MemoryEvents(), backend)
    await begun(one)
    await one.service.drain(0.05)
    assert store.rows["resp_t1"].status == "failed"
    assert "stopping" in words(store.rows["resp_t1"].events)[-1]
    assert backend.open == 0
    with pytest.raises(PartUnavailable):
        await begun(one, "t2")


async def test_a_gateway_that_stops_lets_them_finish() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), FakeBackend("local", ([0.05, *said("Hi")],)))
    await begun(one)
    await one.service.drain(60)
    assert store.rows["resp_t1"].status == "completed"


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nobody_is_told_that_it_is_over_before_its_row_says_so(cancelled: bool) -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), endless() if cancelled else None, lease_s=0.05)
    await begun(one)
    store.away = True
    if cancelled:
        await asyncio.sleep(0)
        answer = json.loads(await one.service.cancel("resp_t1", caller("t9")))
        assert answer["status"] == "in_progress"
    while not one.reported:  # it tries to write its row
        await asyncio.sleep(0)
    assert await status_of(one) == "in_progress"
    store.away = False
    over = "cancelled" if cancelled else "completed"
    assert await whole(one, store) == over == await status_of(one)
