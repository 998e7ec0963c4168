"""The stream of a stored response on its way to a client that reads it again, or for the first
time.  It can leave at any time and go on later: nothing of the response depends on it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress

from appliance.domain.errors import ApplianceError
from appliance.domain.identity import Identity
from appliance.domain.responses import frames
from appliance.transport.streaming import log_failure


class ReadingStream:
    """`chunks` are the frames from number `first` on; `failure(error, sequence)` makes the one that
    ends them early, whatever went wrong."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        first: int,
        failure: Callable[[Exception, int], bytes],
        identity: Identity,
    ) -> None:
        self._chunks = chunks
        self._at = first
        self._failure = failure
        self._identity = identity
        self._frames: AsyncGenerator[bytes, None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._interrupted: ApplianceError | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._frames = self._emit()
        return self._frames

    def interrupt(self, error: ApplianceError) -> None:
        """End it now, with `error` in band."""
        if self._limit is not None:
            with suppress(RuntimeError):  # it is over
                self._limit.reschedule(0)
                self._interrupted = error

    async def close(self) -> None:
        """Let go of what it reads from."""
        if self._frames is not None:
            await self._frames.aclose()
        await self._chunks.aclose()

    async def _emit(self) -> AsyncGenerator[bytes, None]:
        try:
            async with asyncio.timeout(None) as self._limit:
                async for chunk in self._chunks:
                    self._at += frames.count(chunk)
                    yield chunk
        except Exception as exc:  # noqa: BLE001 - the last catch once headers are out
            error = self._interrupted or exc
            log_failure(error, self._identity)
            yield self._failure(error, self._at)
