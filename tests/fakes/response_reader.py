"""Whoever reads a response in a test, and what has come so far."""

import asyncio

from tests.fakes.responses import Gateway, caller, words
from tests.fakes.until import WAIT_S


class Reading:
    """Reads the response of `t1` at `gateway` from the frame after `after` on, until it ends."""

    def __init__(self, gateway: Gateway, after: int = -1) -> None:
        self._seen = b""
        self._task = asyncio.ensure_future(self._read(gateway, after))

    async def has(self, count: int) -> None:
        """Return once `count` frames have come, and it has not ended."""
        async with asyncio.timeout(WAIT_S):
            while len(words(self._seen)) < count:
                await asyncio.sleep(0.001)
        assert not self._task.done()

    async def end(self) -> list[str]:
        """Its frames, all of them."""
        async with asyncio.timeout(WAIT_S):
            await self._task
        return words(self._seen)

    async def _read(self, gateway: Gateway, after: int) -> None:
        frames = await gateway.service.replay("resp_t1", caller("t9"), starting_after=after)
        async for chunk in frames:
            self._seen += chunk
