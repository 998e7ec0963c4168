"""What is asked at a gateway that does not produce the response."""

import asyncio

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import NotFound
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.responses import (
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    read,
    words,
)


@pytest.mark.parametrize(("live", "told"), [(True, ["t1"]), (False, [])])
async def test_the_gateway_that_still_produces_what_is_deleted_elsewhere_is_told_at_once(
    live: bool, told: list[str]
) -> None:
    store, events, heard = MemoryResponses(), MemoryEvents(), list[str]()
    one, other = gateway(store, events), gateway(store, events)
    events.on_cancel(heard.append)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    if not live:
        await read(production.frames())
    await other.service.delete("resp_t1", caller("t2"))
    assert heard == told
    await production.close()


async def test_a_cancel_of_another_gateway_ends_background_responses_alone() -> None:
    store, events, go = MemoryResponses(), MemoryEvents(), asyncio.Event()
    backend = FakeBackend("local", ([Delta(text="Hi"), go, *said("!")],))
    one = gateway(store, events, backend)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    await production.open()
    events.cancel("t1")
    go.set()
    assert words(await read(production.frames()))[-1] == "completed store=True"
    assert store.rows["resp_t1"].status == "completed"


@pytest.mark.parametrize("why", ["off", "refused:privacy", "degraded:postgres"])
async def test_where_nothing_is_stored_a_previous_response_is_unknown_and_not_away(
    why: str,
) -> None:
    store = MemoryResponses()
    store.away = True
    one = gateway(store, MemoryEvents(), unstored=why)
    with pytest.raises(NotFound) as failed:
        await one.service.begin(asked(previous_response_id="resp_t0"), caller("t1"))
    assert failed.value.code == "previous_response_not_found"


@pytest.mark.parametrize("background", [False, True])
async def test_of_more_than_memory_is_for_the_largest_is_not_kept_unless_nobody_else_has_it(
    background: bool,
) -> None:
    store, go = MemoryResponses(), asyncio.Event()
    plays = [[Delta(text="x" * size), go, *said("!")] for size in (600, 500, 100)]
    one = gateway(store, MemoryEvents(), FakeBackend("local", plays), max_live_bytes=1_000)
    large = await one.service.begin(asked(stream=True, background=background), caller("t1"))
    middle = await one.service.begin(asked(stream=True), caller("t2"))
    small = await one.service.begin(asked(stream=True), caller("t3"))
    made, reading = (large, middle, small), []
    for production in made:
        await production.open()
        reading.append(asyncio.ensure_future(read(production.frames())))
        while b"xx" not in await one.service.get(production.id, caller("t9")):
            await asyncio.sleep(0)
    await one.service.shed()
    go.set()
    lost = middle if background else large
    for production, each in zip(made, reading, strict=True):
        assert words(await each)[-1] == f"completed store={production is not lost}"
    await one.service.close()
    assert lost.unstored == "degraded:memory"
    assert store.rows.keys() == {each.id for each in made if each is not lost}
