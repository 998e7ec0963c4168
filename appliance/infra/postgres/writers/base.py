"""What every writer does, whatever its subject: a writer adds its event and the rows of it.

A batch is one transaction: who is forgotten in one round trip, all rows in another.  Repeating it
changes nothing.  What PostgreSQL refuses for its values is halved until the message at fault stands
alone; while PostgreSQL itself is at fault, nothing is held against a message.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.delivery import Delivery, Rejected, Written
from appliance.infra.postgres.faults import fault_of
from appliance.infra.postgres.payload import Envelope, storable
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.writers.bury import bury
from appliance.infra.postgres.writers.forgotten import Forgotten
from appliance.infra.postgres.writers.table import Row, Table

# Of events in a transaction: the parameters of a statement end at 1 GiB, and a payload that came
# by reference may have any size.
_MOST_BYTES = 64 * 1024 * 1024
E = TypeVar("E", bound=Envelope)
Events = Sequence[tuple[Delivery, E]]


class EventWriter(ABC, Generic[E]):
    """A BatchWriter of events `E`."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    @abstractmethod
    def decode(self, data: bytes) -> E:
        """The event of a body.  Raises msgspec.DecodeError."""

    @abstractmethod
    def rows(self, events: Events[E]) -> list[tuple[Table, list[Row]]]:
        """By table.  Tables in the same order always, rows in that of their key: two consumers
        that meet the same keys in different orders would wait for each other."""

    async def settle(self, connection: Connection, events: Events[E]) -> None:
        """What is left to do in the transaction once the rows are in; nothing, for most."""

    async def write(self, batch: Sequence[Delivery]) -> Written:
        """See BatchWriter.write."""
        written = Written()
        events: list[tuple[Delivery, E]] = []
        for delivery in batch:
            try:
                events.append((delivery, self.decode(storable(delivery.data))))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                reason = f"not an event of {delivery.subject}: {exc}"
                written.rejected.append(Rejected(delivery, reason, final=True))
        for part in _parts(events):
            written.add(await self._write(part))
        return written

    async def bury(self, rejected: Sequence[Rejected]) -> None:
        """See BatchWriter.bury."""
        await bury(self._pool, rejected)

    async def _write(self, events: Events[E]) -> Written:
        try:
            return await self._insert(events)
        except Exception as exc:  # also of ours: an event no row can be made of stops no other
            if fault_of(exc) == "server":
                raise PartUnavailable(f"PostgreSQL: {_said(exc)}", part="postgres") from exc
            if len(events) == 1:
                return Written(rejected=[Rejected(events[0][0], _said(exc), final=False)])
        middle = len(events) // 2
        written = await self._write(events[:middle])
        written.add(await self._write(events[middle:]))
        return written

    async def _insert(self, events: Events[E]) -> Written:
        tables = self.rows(events)  # before the transaction: others wait for what it locks
        async with self._pool.transaction() as connection:
            kept = await _not_forgotten(connection, events)
            if len(kept) < len(events):
                tables = self.rows(kept)
            async with connection.pipeline():
                inserts = [
                    (table, len(rows), await connection.execute(table.insert, table.arrays(rows)))
                    for table, rows in tables
                    if rows
                ]
            await self.settle(connection, kept)
        written = Written(forgotten=len(events) - len(kept))
        for table, offered, cursor in inserts:
            if not table.shared:
                written.offered[table.name] = offered
                written.inserted[table.name] = cursor.rowcount
        return written


async def _not_forgotten(connection: Connection, events: Events[E]) -> Events[E]:
    """Those nobody asked to forget."""
    ids = {name for _, event in events for name in (*event.ids, event.about) if name}
    forgotten = await Forgotten.among(connection, ids)
    if not forgotten:
        return events
    return [(delivery, event) for delivery, event in events if not forgotten.covers(event)]


def _parts(events: Events[E]) -> Iterator[Events[E]]:
    """`events` in pieces that fit into a transaction each."""
    start = size = 0
    for end, (delivery, _) in enumerate(events):
        size += len(delivery.data)
        if size > _MOST_BYTES and end > start:
            yield events[start:end]
            start, size = end, len(delivery.data)
    if start < len(events):
        yield events[start:]


def _said(exc: Exception) -> str:
    """Its first line, which may go into a log: what follows quotes the values."""
    line = (str(exc).strip() or "no reason given").splitlines()[0]
    if isinstance(exc, PartUnavailable):
        return line.removeprefix("PostgreSQL: ")
    return f"{type(exc).__name__}: {line}"
