"""A bounded stream ends when it is told to, and lets go of whoever made it, which holds it."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncGenerator

from appliance.domain.chat.bounded import BoundedStream
from appliance.domain.chat.service import Clock
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta
from appliance.domain.identity import Identity
from tests.fakes.chat_backend import FakeBackend, KeptExchanges
from tests.fakes.chat_service import chat_service
from tests.fakes.responses import asked, caller


class Owner:
    """Writes what it is told, and holds its stream."""

    def __init__(self, backend: FakeBackend | None = None) -> None:
        service = chat_service(KeptExchanges(), Clock(time.time, time.monotonic), backend)
        turn = service.turn(asked().continued(()), caller("t1"))
        self.stream = BoundedStream(
            service, turn, write=self.write, end=self.end, failed=self.failed
        )

    def write(self, delta: Delta) -> bytes:
        return delta.text.encode()

    async def end(self) -> bytes:
        return b"."

    async def failed(self, error: Exception) -> bytes:
        return b"!"


async def test_a_stream_that_is_closed_holds_its_owner_no_more() -> None:
    owner = Owner()
    await owner.stream.open(5)
    assert [frame async for frame in owner.stream.frames()] == [b"Hel", b"lo", b"."]
    await owner.stream.close()
    gone = weakref.ref(owner)
    gc.disable()
    try:
        del owner
        assert gone() is None
    finally:
        gc.enable()


class LingeringBackend(FakeBackend):
    """Takes its time to leave."""

    async def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append((model, request))
        try:
            await asyncio.Event().wait()
            yield Delta()
        finally:
            self.aborted += 1
            await asyncio.Event().wait()


async def test_who_closes_it_can_be_cancelled_while_the_backend_is_left() -> None:
    backend = LingeringBackend()
    stream = Owner(backend).stream
    await stream.open(0)
    while not backend.asked:
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(stream.close())
    while not backend.aborted:
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
    await stream.close()
