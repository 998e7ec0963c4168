"""Whether a response is kept: known before it is told, and never more of it than may be."""

import asyncio

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.responses.record import NewResponse
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
from tests.fakes.until import WAIT_S


class Slow(MemoryResponses):
    """A row is made once `go` is set; `begun` says that somebody waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def create(self, new: NewResponse, *, lease_s: float) -> None:
        self.begun.set()
        await self.go.wait()
        await super().create(new, lease_s=lease_s)


async def test_a_stream_does_not_open_before_it_is_known_whether_it_is_stored() -> None:
    store, backend = Slow(), FakeBackend("local", (said("Hi"),))
    one = gateway(store, MemoryEvents(), backend, store_s=WAIT_S)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    opening = asyncio.ensure_future(production.open())
    await store.begun.wait()
    for _ in range(100):  # more turns of the loop than its first words take
        await asyncio.sleep(0)
    assert not opening.done()
    store.away = True
    store.go.set()
    await opening
    assert (production.stored, production.unstored) == (False, "degraded:postgres")
    await production.close()


async def test_one_that_is_deleted_while_its_row_is_made_leaves_none() -> None:
    store, backend = Slow(), FakeBackend("local", (said("Hi"),))
    one = gateway(store, MemoryEvents(), backend, store_s=WAIT_S)
    production = await one.service.begin(asked(stream=True), caller("t1"))
    opening = asyncio.ensure_future(production.open())
    await store.begun.wait()
    await one.service.delete("resp_t1", caller("t2"))
    store.go.set()
    await opening
    assert words(await read(production.frames()))[-1] == "completed store=False"
    await one.service.close()
    assert store.rows == {}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("asking", "kept"), [("?", True), ("?" * 200, False), ("?" * 999, False)])
async def test_what_was_asked_counts_as_what_was_answered(
    asking: str, kept: bool, streamed: bool
) -> None:
    store = MemoryResponses()
    backend = FakeBackend("local", (said("x" * 200, "y" * 200),))
    one = gateway(store, MemoryEvents(), backend, max_bytes=600)
    production = await one.service.begin(asked(asking, stream=streamed), caller("t1"))
    if streamed:
        await production.open()
        assert words(await read(production.frames()))[-1] == f"completed store={kept}"
    else:
        await production.once()
    await one.service.close()
    assert (production.stored, list(store.rows)) == (kept, ["resp_t1"] if kept else [])


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_larger_than_what_is_kept_is_not_stored(streamed: bool) -> None:
    store = MemoryResponses()
    backend = FakeBackend("local", ([Delta(text="x" * 600), *said("y" * 9)],))
    one = gateway(store, MemoryEvents(), backend, max_bytes=600)
    production = await one.service.begin(asked(stream=streamed), caller("t1"))
    if streamed:
        await production.open()
        await read(production.frames())
    else:
        await production.once()
    await one.service.close()
    assert (production.stored, store.rows) == (False, {})
