"""Tasks that belong to the response service rather than to a request: none is lost or outlives
it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from appliance.domain.identity import Identity

T = TypeVar("T")


class Report(Protocol):
    """Writes a line into the log."""

    def __call__(self, event: str, error: BaseException, identity: Identity | None = None) -> None:
        """`event` is its name; `identity` whose request it was about."""


class Tasks:
    """Started here, they go on when the request that wanted them is cancelled."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work`; should it fail, the log says so."""
        task = asyncio.get_running_loop().create_task(work)
        self._open.add(task)  # the loop itself holds no task
        task.add_done_callback(self._done)
        return task

    async def end(self, within_s: float) -> None:
        """Wait for all of them, `within_s` at most, then cancel those that are left."""
        if self._open:
            await asyncio.wait(set(self._open), timeout=within_s)
        left = set(self._open)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=within_s)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._open.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._report("task_failed", failure)
