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
RETRY_S = 0.5


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

    async def create(self, new: NewResponse) -> str:
        """Why there is no live row, "" when there is one."""
        why = await self._why_not(lambda: self._store.create(new, lease_s=self._lease_s))
        if why:
            self._unwant(new.id)  # it may have been written all the same
        return why

    async def keep(self, new: NewResponse, events: bytes) -> str:
        """Why a whole response has no row, "" when it has one."""
        why = await self._why_not(lambda: self._store.keep(new, events))
        if why:
            self._unwant(new.id)
        return why

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

        loop, told = asyncio.get_running_loop(), False
        until = loop.time() + (PATIENCE_S if patient else 0.0)
        while why := await self._why_not(write):
            if loop.time() >= until:
                self._unwant(response_id)
                break
            if not told:  # once: it may be hundreds of tries, of many responses
                self._report("response_not_stored_yet", PartUnavailable(why, part="postgres"))
                told = True
            await asyncio.sleep(RETRY_S)
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

    def _unwant(self, response_id: str) -> None:
        """Not deleted at once: PostgreSQL has just failed, or has more to do than it can."""
        self._unwanted[response_id] = None
        while len(self._unwanted) > MAX_UNWANTED:
            self._unwanted.pop(next(iter(self._unwanted)))

    async def _delete(self, response_id: str) -> bool:
        async def delete() -> None:
            await self._store.delete(response_id)

        if await self._why_not(delete):
            return False
        self._unwanted.pop(response_id, None)
        return True

    async def _why_not(self, write: Callable[[], Awaitable[None]]) -> str:
        try:
            async with asyncio.timeout(self._store_s):
                await write()
        except TimeoutError:
            return f"PostgreSQL did not answer within {self._store_s:g} s"
        except ApplianceError as exc:
            return str(exc)
        except Exception as exc:  # noqa: BLE001 - an answer is not lost for its row
            self._report("response_not_stored", exc)
            return "the row was refused"
        return ""
