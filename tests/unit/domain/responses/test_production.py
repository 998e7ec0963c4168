"""A foreground response: answered, stored, cut off, unstored."""

import asyncio
import gc
import json
import weakref
from dataclasses import replace

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import BackendRefused, PartUnavailable
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.responses import (
    WIRE,
    LineEncoder,
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    read,
    words,
)

HELLO = ["opening", "Hel", "lo", "close", "completed store=True"]


class BreaksOnce(LineEncoder):
    """Cannot end the first time."""

    broke = False

    def close(self, *, whole: bool) -> bytes:
        if self.broke:
            return super().close(whole=whole)
        self.broke = True
        raise RuntimeError("a bug")


def pausing(*before: str) -> tuple[FakeBackend, asyncio.Event]:
    """A backend that says `before`, and goes on with " end" once the event is set."""
    go = asyncio.Event()
    steps = [Delta(text=word) for word in before]
    return FakeBackend("local", ([*steps, go, *said(" end")],)), go


async def test_once_is_stored_with_its_events_before_it_is_returned() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(asked(), caller("t1"))
    resource = await production.once()
    row = store.rows["resp_t1"]
    assert (row.status, row.resource, row.conversation_id) == ("completed", resource, "c-t1")
    assert words(row.events) == ["opening", "Hello", "close", "completed store=True"]
    assert [exchange.status for exchange in one.exchanges.kept] == ["finished"]
    assert production.stored
    assert production.items() == [{"text": "hi"}, {"text": "Hello"}]


async def test_a_stream_has_a_live_row_and_its_last_frame_leaves_after_the_row_is_whole() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    assert store.rows["resp_t1"].status == "in_progress"
    seen = b""
    async for chunk in production.frames():
        seen += chunk
        if b"completed" in chunk:
            assert store.rows["resp_t1"].status == "completed"
    await production.close()
    assert words(seen) == HELLO
    assert store.rows["resp_t1"].events == seen


async def test_without_postgresql_an_answer_comes_and_says_that_it_is_not_stored() -> None:
    store = MemoryResponses()
    store.away = True
    one = gateway(store, MemoryEvents())
    once = await one.service.begin(asked(), caller("t1"))
    assert json.loads(await once.once())["store"] is False
    assert (once.stored, once.unstored) == (False, "degraded:postgres")
    stream = await one.service.begin(asked(stream=True), caller("t2"))
    await stream.open()
    assert (stream.stored, stream.unstored) == (False, "degraded:postgres")
    assert words(await read(stream.frames()))[-1] == "completed store=False"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_hung_postgresql_delays_an_answer_no_longer_than_its_bound(streamed: bool) -> None:
    store = MemoryResponses()
    store.hangs = True
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(asked(stream=streamed), caller("t1"))
    async with asyncio.timeout(60):
        if streamed:
            await production.open()
            await read(production.frames())
        else:
            await production.once()
    assert production.unstored == "degraded:postgres"


async def test_a_row_that_could_not_be_finished_goes_as_soon_as_it_can() -> None:
    store = MemoryResponses()
    backend, go = pausing("Hi")
    one = gateway(store, MemoryEvents(), backend, lease_s=0.03)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    assert production.unstored == ""
    store.away = True
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=False"
    store.away = False
    assert "resp_t1" in store.rows
    upkeep = asyncio.ensure_future(one.service.maintain())
    async with asyncio.timeout(60):
        while store.rows:
            await asyncio.sleep(0.001)
    upkeep.cancel()


async def test_a_hang_up_aborts_the_backend_and_leaves_a_cancelled_row() -> None:
    store = MemoryResponses()
    backend, _ = pausing("Hi", " there")
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    frames = production.frames()
    await anext(frames)
    await production.close()
    assert (backend.open, backend.aborted) == (0, 1)
    await one.service.close()
    row = store.rows["resp_t1"]
    assert row.status == "cancelled"
    assert words(row.events)[-1] == "cancelled store=True"
    assert [exchange.status for exchange in one.exchanges.kept] == ["cancelled"]


async def test_what_ends_it_while_its_client_takes_nothing_is_what_its_row_says() -> None:
    store = MemoryResponses()
    backend, _ = pausing("Hi")
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    sending = asyncio.Event()

    async def answer() -> None:
        try:
            async for _ in production.frames():
                sending.set()
                await asyncio.Event().wait()
        finally:
            await production.close()

    answering = asyncio.ensure_future(answer())
    await sending.wait()
    production.interrupt(PartUnavailable("stopping", part="gateway"))
    await asyncio.wait({answering})
    await one.service.close()
    assert answering.cancelled()
    assert backend.open == 0
    assert store.rows["resp_t1"].status == "failed"
    assert words(store.rows["resp_t1"].events)[-1] == "failed store=True stopping"
    assert [exchange.status for exchange in one.exchanges.kept] == ["failed"]


async def test_a_hang_up_before_the_first_token_leaves_a_cancelled_row_too() -> None:
    store = MemoryResponses()
    backend, _ = pausing()
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    opening = asyncio.ensure_future(production.open())
    while not store.rows:
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    await production.close()
    await one.service.close()
    assert backend.open == 0
    assert store.rows["resp_t1"].status == "cancelled"


async def test_a_client_that_leaves_while_the_last_row_is_written_leaves_a_whole_row() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    frames = production.frames()
    for _ in range(2):
        await anext(frames)
    ending = asyncio.ensure_future(read(frames))
    while production.status != "completed":
        await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait({ending})
    await production.close()
    await one.service.close()
    assert store.rows["resp_t1"].status == "completed"


async def test_a_failure_before_content_is_raised_and_leaves_no_row() -> None:
    store = MemoryResponses()
    refusal = BackendRefused("no", backend="local", status=400)
    one = gateway(store, MemoryEvents(), FakeBackend("local", ([refusal],)))
    production = await one.service.begin(asked(stream=True), caller("t1"))
    with pytest.raises(BackendRefused):
        await production.open()
    await production.close()
    await one.service.close()
    assert store.rows == {}


async def test_a_failure_after_content_is_the_last_frame_and_the_row() -> None:
    store = MemoryResponses()
    refusal = BackendRefused("broke", backend="local", status=500)
    backend = FakeBackend("local", ([Delta(text="Hi"), refusal],))
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    seen = await read(production.frames())
    assert words(seen) == ["opening", "Hi", "cut", "failed store=True broke"]
    assert store.rows["resp_t1"].status == "failed"
    assert store.rows["resp_t1"].events == seen
    assert [event for event, _ in one.reported] == ["stream_failed"]


async def test_an_interruption_is_the_last_frame_and_the_row() -> None:
    store = MemoryResponses()
    backend, _ = pausing("Hi")
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    frames = production.frames()
    await anext(frames)
    asyncio.get_running_loop().call_soon(
        production.interrupt, PartUnavailable("stopping", part="gateway")
    )
    assert words(await read(frames))[-1] == "failed store=True stopping"
    assert store.rows["resp_t1"].status == "failed"
    assert [exchange.status for exchange in one.exchanges.kept] == ["failed"]


async def test_one_whose_end_cannot_be_written_fails_and_is_not_stored() -> None:
    store = MemoryResponses()
    encoder = BreaksOnce("resp_t1", store=True)
    wire = replace(WIRE, encoder=lambda *_: encoder)
    one = gateway(store, MemoryEvents(), wire=wire)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    assert words(await read(production.frames()))[-1] == "failed store=False a bug"
    await one.service.close()
    assert (store.rows, production.stored) == ({}, False)


async def test_what_is_too_large_to_be_kept_arrives_and_is_not_stored() -> None:
    store = MemoryResponses()
    backend = FakeBackend("local", (said(*["x" * 100] * 10),))
    one = gateway(store, MemoryEvents(), backend, max_bytes=500)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    seen = words(await read(production.frames()))
    await one.service.close()
    assert (len(seen), seen[-1], store.rows) == (13, "completed store=False", {})
    assert production.unstored == "refused:max_bytes"


async def test_what_is_too_large_to_be_kept_says_so_where_it_is_asked_for_once() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), FakeBackend("local", (said("x" * 900),)), max_bytes=500)
    production = await one.service.begin(asked(), caller("t1"))
    assert json.loads(await production.once())["store"] is False
    assert (production.unstored, store.rows) == ("refused:max_bytes", {})


async def test_one_whose_input_alone_is_too_large_never_has_a_row() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    one = gateway(store, events, max_bytes=50)
    production = await one.service.begin(asked("x" * 200, stream=True), caller("t1"))
    await production.open()
    assert (production.stored, production.unstored) == (False, "refused:max_bytes")
    assert words(await read(production.frames()))[-1] == "completed store=False"
    assert (store.rows, events.pieces) == ({}, {})


async def test_one_that_is_deleted_while_it_is_streamed_is_not_there_afterwards() -> None:
    store = MemoryResponses()
    backend, go = pausing("Hi")
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    await one.service.delete("resp_t1", caller("t2"))
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=False"
    await one.service.close()
    assert store.rows == {}


async def test_one_that_another_gateway_deleted_is_not_there_afterwards() -> None:
    store, events = MemoryResponses(), MemoryEvents()
    backend, go = pausing("Hi")
    one, other = gateway(store, events, backend), gateway(store, events)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    await other.service.delete("resp_t1", caller("t2"))
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=False"
    assert store.rows == {}


@pytest.mark.parametrize(
    ("fields", "limits", "why"),
    [
        ({"store": False}, {}, ""),
        ({}, {"unstored": "off"}, "off"),
        ({}, {"unstored": "refused:privacy"}, "refused:privacy"),
    ],
)
async def test_nothing_is_stored_that_shall_not_be(fields: dict, limits: dict, why: str) -> None:
    store, events = MemoryResponses(), MemoryEvents()
    one = gateway(store, events, **limits)
    production = await one.service.begin(asked(stream=True, **fields), caller("t1"))
    await production.open()
    assert (production.stored, production.unstored) == (False, why)
    assert words(await read(production.frames()))[-1] == "completed store=False"
    assert (store.rows, events.pieces) == ({}, {})


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("store", [True, False])
async def test_a_response_that_is_over_is_freed_without_the_collector(
    store: bool, streamed: bool
) -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    production = await one.service.begin(asked(stream=streamed, store=store), caller("t1"))
    if streamed:
        await production.open()
        assert words(await read(production.frames()))[-1] == f"completed store={store}"
        await production.close()
    else:
        await production.once()
    await one.service.close()
    gone = weakref.ref(production)
    gc.disable()
    try:
        del production
        assert gone() is None
    finally:
        gc.enable()
