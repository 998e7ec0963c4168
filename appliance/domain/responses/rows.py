"""Write the rows of the responses this gateway produces: each write within its time, none raising.

A row that must not be there, because its client was told that nothing is stored, is deleted as soon
as PostgreSQL takes it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.responses.ports import ResponseStore
from appliance.domain.responses.record import NewResponse, Status
from appliance.domain.responses.tasks import Report, Tasks

MAX_UNWANTED = 10_000
PATIENCE_S = 300.0  # how long the row of a background response is tried for
RETRY_S, MAX_RETRY_S = 0.5, 5.0  # between two tries, ever longer


class _Refused(ApplianceError):
    """PostgreSQL is there, and does not take this row: it will not do so later."""


class Rows:
    """`store_s` bounds a write."""

    def __init__(
        self,
        store: ResponseStore,
        tasks: Tasks,
        *,
        store_s: float,
        lease_s: float,
        report: Report,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._store_s = store_s
        self._lease_s = lease_s
        self._report = report
        self._unwanted: dict[str, None] = {}  # a set in the order they came

    async def create(self, new: NewResponse) -> bool:
        """Whether there is a live row."""
        return await self._made(new.id, lambda: self._store.create(new, lease_s=self._lease_s))

    async def keep(self, new: NewResponse, events: bytes) -> bool:
        """Whether a whole response has a row."""
        return await self._made(new.id, lambda: self._store.keep(new, events))

    async def finish(
        self,
        response_id: str,
        status: Status,
        resource: bytes,
        events: bytes,
        *,
        patient: bool = False,
    ) -> bool:
        """Whether the row is whole now; `patient`: tried again while PostgreSQL is away."""
        written = False

        async def write() -> None:
            nonlocal written
            written = await self._store.finish(response_id, status, resource, events)

        loop, pause_s = asyncio.get_running_loop(), RETRY_S
        until = loop.time() + (PATIENCE_S if patient else 0.0)
        while (failure := await self._failure(write)) is not None:
            if isinstance(failure, _Refused) or loop.time() >= until:
                self._unwant(response_id)
                break
            if pause_s == RETRY_S:  # once: it may be dozens of tries, of many responses
                self._report("response_not_stored_yet", failure)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_S)
        return written

    def discard(self, response_id: str) -> None:
        """It must not be found any more."""
        self._unwant(response_id)
        self._tasks.spawn(self._delete(response_id))

    async def delete_unwanted(self) -> None:
        """Delete what was discarded and could not be deleted then."""
        for response_id in list(self._unwanted):
            if not await self._delete(response_id):
                return

    async def _made(self, response_id: str, write: Callable[[], Awaitable[None]]) -> bool:
        if await self._failure(write) is None:
            return True
        self._unwant(response_id)  # it may have been written all the same
        return False

    def _unwant(self, response_id: str) -> None:
        """Not deleted at once: PostgreSQL has just failed, or has more to do than it can."""
        self._unwanted[response_id] = None
        while len(self._unwanted) > MAX_UNWANTED:
            self._unwanted.pop(next(iter(self._unwanted)))

    async def _delete(self, response_id: str) -> bool:
        async def delete() -> None:
            await self._store.delete(response_id)

        if await self._failure(delete) is not None:
            return False
        self._unwanted.pop(response_id, None)
        return True

    async def _failure(self, write: Callable[[], Awaitable[None]]) -> ApplianceError | None:
        """Why `write` is not done, or not known to be; None where it is."""
        try:
            async with asyncio.timeout(self._store_s):
                await write()
        except TimeoutError:
            late = f"PostgreSQL did not answer within {self._store_s:g} s"
            return PartUnavailable(late, part="postgres")
        except PartUnavailable as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - an answer is not lost for its row
            self._report("response_not_stored", exc)
            return _Refused(str(exc))
        return None
