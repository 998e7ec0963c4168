"""Records with a message larger than one may be: its body goes to the object store, and a message
that names it goes to the stream.

One record at a time, beside the shipper: small records pass.  Those that wait lie on the disk, so a
thousand of them cost no memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from appliance.domain.events.topics import KEPT, events_of
from appliance.infra.nats.publisher.wire import HEADER_BYTES
from appliance.infra.nats.shipper.administration import FAILURES, PayloadStore
from appliance.infra.nats.shipper.messages import Message
from appliance.infra.spool.journal import RecordGone, Ticket

RETRY_FIRST_S: Final = 0.25
RETRY_MOST_S: Final = 10.0
PUT_TIMEOUT_S: Final = 60.0
_encode = msgspec.json.Encoder().encode
Open = Callable[[], AbstractAsyncContextManager[PayloadStore]]


class NeverShippable(Exception):
    """No try can succeed; `str()` says why."""


class Oversize:
    """`ready` gets a record with messages that fit, `given_up` one that can never be shipped, `say`
    why records wait ("": they go on)."""

    def __init__(
        self,
        store: Open,
        *,
        ready: Callable[[Ticket, list[Message]], None],
        given_up: Callable[[Ticket, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._ready = ready
        self._given_up = given_up
        self._say = say
        self._waiting: deque[tuple[Ticket, int]] = deque()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ticket: Ticket, limit: int) -> None:
        """No message of `ticket` may be larger than `limit` bytes, its header included."""
        ticket.cool()
        self._waiting.append((ticket, limit))
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        delay = RETRY_FIRST_S
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            try:
                async with self._store() as store:
                    while self._waiting:
                        async with asyncio.timeout(PUT_TIMEOUT_S):
                            await self._next(store)
                        delay = RETRY_FIRST_S
            except FAILURES as exc:
                self._say(f"a large payload waits: {str(exc) or type(exc).__name__}")
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MOST_S)

    async def _next(self, store: PayloadStore) -> None:
        ticket, limit = self._waiting[0]
        try:
            await ticket.warm()
            messages = await _fitting(ticket, limit, store)
        except (RecordGone, NeverShippable) as exc:
            self._waiting.popleft()
            self._given_up(ticket, str(exc))
            return
        except BaseException:
            ticket.cool()
            self._waiting.rotate(-1)  # one that cannot be stored now must not stop the others
            raise
        self._waiting.popleft()
        self._ready(ticket, messages)


async def _fitting(ticket: Ticket, limit: int, store: PayloadStore) -> list[Message]:
    """Its messages, those above `limit` by reference; measures above it are left out."""
    messages = []
    for event in events_of(ticket.exchange()):
        data = _encode(event.body)
        kept = event.subject.startswith(KEPT)
        head = HEADER_BYTES + len(event.event_id)
        if head + len(data) > limit:
            if not kept:
                continue
            data = await store.put(event.body, data)
            if head + len(data) > limit:
                raise NeverShippable(f"even by reference larger than a message may be: {limit}")
        messages.append(Message(event.subject, event.event_id, data, head + len(data), kept))
    return messages
