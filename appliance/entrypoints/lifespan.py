"""Small things that live as long as a role: opened in order, closed in reverse."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from appliance.config.keys import key_ring, read_keys
from appliance.domain.access.keys import KeyRing
from appliance.domain.errors import ConfigError
from appliance.domain.tasks import ended

CHECK_EVERY_S = 2.0
_log = logging.getLogger("appliance.gateway")


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block, and end it with the block.  Should it fail, the log says so."""
    task = asyncio.create_task(work)
    task.add_done_callback(_told)
    try:
        yield
    finally:
        await ended(task)


def _told(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        _log.error("task_failed", exc_info=failure)


class KeyWatch:
    """The key file as it stands; a change counts within `every_s`."""

    def __init__(self, path: Path | None, *, every_s: float = CHECK_EVERY_S) -> None:
        self._path = path
        self._every_s = every_s
        self._stamp = self._look()
        self._ring = key_ring(read_keys(path))

    def ring(self) -> KeyRing:
        """The keys now."""
        return self._ring

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Re-read the file when it changes, for the time of the block."""
        async with beside(self._watch()):
            yield

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if (stamp := self._look()) != self._stamp:
                self._stamp = stamp
                self._reload()

    def _reload(self) -> None:
        try:
            fresh = key_ring(read_keys(self._path))
        except (ConfigError, OSError) as exc:
            _log.error("keys_not_read", extra={"error": str(exc)})  # the old keys stay in force
            return
        if self._ring and not fresh:
            # Deleting the last key must not open a gateway that was closed: that takes a restart.
            # Nor may a removed key open it any longer.
            _log.error("keys_gone", extra={"path": str(self._path)})
            fresh = KeyRing(closed=True)
        self._ring = fresh

    def _look(self) -> tuple[int, int]:
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size) if found else (0, 0)
