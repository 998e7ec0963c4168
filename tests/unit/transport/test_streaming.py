import asyncio
from typing import Any

from appliance.transport.streaming import COMMENT, KeepAlive


class Line:
    """A client's line: what was sent, and whether it takes anything."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.waiting = 0
        self.last_send = asyncio.get_running_loop().time()

    async def send(self, message: dict[str, Any]) -> None:
        self.waiting += 1
        try:
            await self.takes.wait()
        finally:
            self.waiting -= 1
        self.sent.append(message)

    def keep_alive(self, silence_s: float) -> KeepAlive:
        return KeepAlive(self.send, lambda: self.last_send, silence_s)


async def test_a_silent_line_gets_a_comment_again_and_again() -> None:
    line = Line()
    alive = line.keep_alive(0.02)
    async with asyncio.timeout(30):
        while len(line.sent) < 2:
            await asyncio.sleep(0.01)
    alive.stop()
    assert line.sent[0] == {"type": "http.response.body", "body": COMMENT, "more_body": True}


async def test_a_busy_line_gets_none() -> None:
    line = Line()
    alive = KeepAlive(line.send, asyncio.get_running_loop().time, 0.02)  # something leaves always
    await asyncio.sleep(0.1)
    alive.stop()
    assert line.sent == []


async def test_nothing_is_sent_after_stop() -> None:
    line = Line()
    line.keep_alive(0.01).stop()
    await asyncio.sleep(0.03)
    assert line.sent == []


async def test_a_line_that_takes_nothing_has_one_comment_waiting_and_none_after_stop() -> None:
    line = Line()
    line.takes.clear()
    alive = line.keep_alive(0.01)
    await asyncio.sleep(0.1)
    assert line.waiting == 1
    alive.stop()
    await asyncio.sleep(0.01)
    assert (line.waiting, line.sent) == (0, [])


async def test_a_line_that_is_gone_is_no_error_of_the_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def gone(_: dict[str, Any]) -> None:
        raise OSError("gone")

    alive = KeepAlive(gone, lambda: 0.0, 0.01)
    await asyncio.sleep(0.05)
    alive.stop()
    await asyncio.sleep(0)
    assert told == []
