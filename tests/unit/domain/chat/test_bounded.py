"""A bounded stream lets go of whoever made it, which holds it."""

import gc
import time
import weakref

from appliance.domain.chat.bounded import BoundedStream
from appliance.domain.chat.service import Clock
from appliance.domain.conversation.stream import Delta
from tests.fakes.chat_backend import KeptExchanges
from tests.fakes.chat_service import chat_service
from tests.fakes.responses import asked, caller


class Owner:
    """Writes what it is told, and holds its stream."""

    def __init__(self) -> None:
        service = chat_service(KeptExchanges(), Clock(time.time, time.monotonic))
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
