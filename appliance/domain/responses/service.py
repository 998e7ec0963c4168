"""POST /v1/responses and what can be done with a response afterwards.  Called by
`transport/responses.py` and its WebSocket; read this first, then `production.py`.

    1  begin       what it continues (continuation.py), a turn of the chat service, an encoder
    2  open        the backend is asked; beside that its row is made, leased to us (rows.py)
    3  frames      each delta becomes frames (writer.py, and the encoder of presentation), which
                   live.py holds for readers here and hands to EVT for those elsewhere (follow.py)
    4  the end     the row is whole, then the last frame leaves

Stored responses are rows of PostgreSQL, so that every gateway serves what any other produced; one
whose gateway died is an orphan (orphans.py).  A caller sees the responses of its own key alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import InvalidRequest, NotFound, PartUnavailable
from appliance.domain.responses.background import (
    BackgroundProduction,
    require_background,
    require_storing,
)
from appliance.domain.responses.compaction import summarising, with_summaries
from appliance.domain.responses.context import ProductionContext
from appliance.domain.responses.continuation import Continued, continued, unknown_previous
from appliance.domain.responses.follow import Follower, from_memory, rest_of
from appliance.domain.responses.live import LiveResponse, LiveResponses, owner
from appliance.domain.responses.orphans import Orphans
from appliance.domain.responses.ports import ResponseEvents, ResponseStore
from appliance.domain.responses.production import NO_MEMORY, Production
from appliance.domain.responses.record import LIVE, Item, ResponseRequest, StoredResponse, id_of
from appliance.domain.responses.rows import Rows
from appliance.domain.responses.tasks import Report, Tasks
from appliance.domain.responses.wiring import ResponseLimits, ResponseWire
from appliance.domain.responses.writer import Cancelled
from appliance.domain.sealing import Seal

ROUNDS_A_LEASE = 3
ORPHANS_A_ROUND = 20
LAST_WORDS_S = 0.5


class ResponseService:
    """One for the process.  `maintain` runs beside it; `close` before its parts are closed."""

    def __init__(
        self,
        chat: ChatService,
        store: ResponseStore,
        events: ResponseEvents,
        wire: ResponseWire,
        limits: ResponseLimits,
        *,
        seal: Seal,
        monotonic: Callable[[], float],
        report: Report,
    ) -> None:
        """`seal` is that of compaction items; `monotonic` gives seconds."""
        self._store = store
        self._events = events
        self._wire = wire
        self._limits = limits
        self._seal = seal
        self._report = report
        self._stopping = False
        self._tasks = Tasks(report)
        rows = Rows(
            store, self._tasks, store_s=limits.store_s, lease_s=limits.lease_s, report=report
        )
        self._orphans = Orphans(store, events, wire, monotonic)
        self._follower = Follower(store, events, self._orphans, wire, limits, monotonic)
        lives = LiveResponses()
        self._context = ProductionContext(
            chat, rows, lives, events, self._tasks, wire, limits, seal, report
        )
        events.on_cancel(self._cancel_asked)

    async def begin(
        self,
        asked: ResponseRequest,
        caller: Caller,
        *,
        earlier: Sequence[Item] | None = None,
        conversation_id: str = "",
    ) -> Production:
        """A new response; nothing is asked of a backend before its `open` or `once`.

        `earlier`, with the `conversation_id` it belongs to, is what it continues where that is
        known (of a connection's memory): items of the responses before it, oldest first.  Otherwise
        `previous_response_id` is looked up.  Raises the error tree; see `continued`.
        """
        if asked.background:
            if self._stopping:
                raise PartUnavailable("The gateway is stopping.", part="gateway")
            require_storing(asked, self._limits)
        known = Continued(earlier or (), conversation_id)
        if earlier is None and asked.previous_response_id:
            known = await self.continued(asked.previous_response_id, caller)
        request = known.joined_by(with_summaries(asked.continued(known.items), self._seal))
        if caller.key is not None and request.extensions.workspace:
            caller.key.require_workspace(request.extensions.workspace)
        if not request.messages:
            raise InvalidRequest("input: nothing in it can be answered", param="input")
        if asked.compacts:
            request = summarising(request)
        if asked.background and not request.stream:
            request = replace(request, stream=True)  # what is said can be read before it is whole
        turn = self._context.chat.turn(request, caller)
        response_id = id_of(caller.identity.trace_id)
        encoder = self._wire.encoder(asked, request, response_id, int(turn.wall))
        made = BackgroundProduction if asked.background else Production
        return made(
            self._context, asked, turn, encoder, response_id=response_id, earlier=known.items
        )

    async def prompt(self, asked: ResponseRequest, caller: Caller) -> ChatRequest:
        """What a backend would be asked.  Raises as `continued`."""
        previous = asked.previous_response_id
        known = await self.continued(previous, caller) if previous else Continued()
        return with_summaries(asked.continued(known.items), self._seal)

    async def continued(self, response_id: str, caller: Caller) -> Continued:
        """What a request with this `previous_response_id` continues.  Raises as continuation.py."""
        try:
            return await continued(
                self._store, self._wire, response_id, owner(caller), most=self._limits.max_chain
            )
        except PartUnavailable:
            if self._limits.unstored:  # it will not be there later, either
                raise unknown_previous(response_id) from None
            raise

    async def get(self, response_id: str, caller: Caller) -> bytes:
        """The resource as it is now.  Raises NotFound, and PartUnavailable(part="postgres")."""
        live = self._live(response_id, caller)
        if live is not None:
            return live.producer.resource()
        return (await self._row(response_id, caller)).resource

    async def input_items(self, response_id: str, caller: Caller) -> list[Item]:
        """What its request said, in order.  Raises as `get`."""
        live = self._live(response_id, caller)
        if live is not None:
            return list(live.producer.input_items)
        items: list[Item] = self._wire.decoded((await self._row(response_id, caller)).input_items)
        return items

    async def delete(self, response_id: str, caller: Caller) -> None:
        """Nothing is kept of it from here on.  A background one in progress is cancelled, any
        other is produced to its end, which says that it is not stored.  Raises as `get`."""
        live = self._live(response_id, caller)
        if live is None:
            row = await self._row(response_id, caller)
            await self._store.delete(response_id)
            if row.status in LIVE:
                self._events.cancel(row.trace_id)
            return
        live.producer.forget()
        await self._store.delete(response_id)

    async def cancel(self, response_id: str, caller: Caller) -> bytes:
        """The resource, cancelled, or whole where it was faster; of a background one only.

        Waits for that as long as a lease; what is still in progress then is returned so.  Raises
        InvalidRequest for one that is none, otherwise as `get`.
        """
        live = self._live(response_id, caller)
        if live is not None:
            require_background(live.background)
            producer = live.producer  # which is let go of when it is over
            producer.stop(Cancelled("it was asked to be cancelled"))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.lease_s):
                    await live.over()
            return producer.resource()
        row = await self._row(response_id, caller)
        require_background(row.background)
        if row.status in LIVE and await self._store.ask_cancel(response_id):
            self._events.cancel(row.trace_id)
            with suppress(PartUnavailable):
                await self._follower.whole(response_id, self._limits.lease_s)
            row = await self._row(response_id, caller)
        return row.resource

    async def replay(
        self, response_id: str, caller: Caller, *, starting_after: int = -1
    ) -> AsyncGenerator[bytes, None]:
        """Its frames after the one with the number `starting_after`, also while it is produced,
        here or elsewhere; none where there are no more.  Raises as `get`, before the first."""
        live = self._live(response_id, caller)
        if live is not None:
            return from_memory(live, starting_after + 1, self._wire)
        row = await self._row(response_id, caller)
        if row.status not in LIVE:
            whole = await self._store.get(response_id)
            if whole is None:
                raise _unknown(response_id)
            return _of_row(rest_of(whole, starting_after + 1, self._wire))
        return self._follower.read(row, starting_after + 1)

    async def maintain(self) -> None:
        """Renew leases, do what was asked through PostgreSQL, look after orphans: for ever."""
        async with asyncio.TaskGroup() as group:
            # Not one after the other: orphans take their time, and a lease does not wait.
            group.create_task(self._again(self.renew))
            group.create_task(self._again(self.look_after_orphans))
            group.create_task(self._again(self._context.rows.delete_unwanted))
            group.create_task(self._again(self.shed))

    async def renew(self) -> None:
        """Renew the leases of all that is produced here, and end what somebody asked to end.
        Raises PartUnavailable, and TimeoutError when it is time for the next round."""
        lives, lease_s = self._context.in_progress, self._limits.lease_s
        leased = [live.id for live in lives.all() if live.leased]
        if not leased:
            return
        async with asyncio.timeout(lease_s / ROUNDS_A_LEASE):
            ended = await self._store.renew(leased, lease_s=lease_s)
        for response_id in ended:
            if (live := lives.get(response_id)) is not None:
                live.producer.stop(Cancelled("it was asked to be cancelled, or deleted"))

    async def look_after_orphans(self) -> None:
        """Those of other gateways that are there now.  Raises PartUnavailable."""
        own = [live.id for live in self._context.in_progress.all()]
        found = await self._store.orphans(own, most=ORPHANS_A_ROUND)
        await asyncio.gather(*(self._orphans.resolved(row) for row in found))

    async def shed(self) -> None:
        """Hold no more frames than `max_live_bytes`: the largest responses are not kept."""
        for live in self._context.in_progress.above(self._limits.max_live_bytes):
            live.producer.forget(NO_MEMORY)

    async def drain(self, within_s: float) -> None:
        """Begin no background response any more; let those that are produced finish for
        `within_s`, then end those that are left, as failed in their rows."""
        self._stopping = True
        running = [live for live in self._context.in_progress.all() if live.background]
        await _over(running, within_s)
        for live in running:
            live.producer.stop(PartUnavailable("The gateway is stopping.", part="gateway"))
        await _over(running, self._limits.store_s + LAST_WORDS_S)

    async def close(self) -> None:
        """Wait, bounded, for the rows that are still being written."""
        self._stopping = True
        await self._tasks.end(self._limits.store_s + LAST_WORDS_S)

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._limits.lease_s / ROUNDS_A_LEASE)
            try:
                await work()
            except (PartUnavailable, TimeoutError):
                pass  # `/ready` says so
            except Exception as exc:  # noqa: BLE001 - the next round may do better
                self._report("responses_round_failed", exc)

    def _live(self, response_id: str, caller: Caller) -> LiveResponse | None:
        """None where this gateway does not produce it, or for another key."""
        live = self._context.in_progress.get(response_id)
        return live if live is not None and live.key_name == owner(caller) else None

    async def _row(self, response_id: str, caller: Caller) -> StoredResponse:
        found = await self._store.chain(response_id, most=1)
        if not found or found[-1].key_name != owner(caller):
            raise _unknown(response_id)
        row = await self._orphans.resolved(found[-1])
        if row is None:
            raise _unknown(response_id)
        return row

    def _cancel_asked(self, trace_id: str) -> None:
        """Some gateway was asked to cancel one that may be ours."""
        live = self._context.in_progress.get(id_of(trace_id))
        if live is not None and live.background:
            live.producer.stop(Cancelled("it was asked to be cancelled"))


def _unknown(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id!r} not found.", code="response_not_found")


async def _of_row(rest: bytes) -> AsyncGenerator[bytes, None]:
    if rest:
        yield rest


async def _over(lives: Sequence[LiveResponse], within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(live.over() for live in lives))
