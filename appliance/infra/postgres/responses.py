"""Responses that clients had stored: the table `api_responses`.

Implements domain.responses.ports.ResponseStore.  Every method is one transaction, with the
limits of the pool; rows that are written at the same time share theirs (`grouped.py`).  A live row
has a lease, by the database's clock alone: gateways need not agree on the time.  The row's own lock
decides every race (finish, cancel, delete, an orphan taken up elsewhere, `appliance forget`): the
first to commit wins, and whoever comes later is told.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

from psycopg import Rollback
from psycopg.rows import dict_row

from appliance.domain.errors import PartUnavailable
from appliance.domain.responses.record import NewResponse, Status, StoredResponse
from appliance.infra.postgres.grouped import Grouped
from appliance.infra.postgres.payload import storable_text
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.response_writes import (
    CREATE,
    KEEP,
    Finished,
    Made,
    finish,
    finish_one,
    insert,
)

CHAIN_BYTES: Final = 64 * 1024 * 1024  # resources and items of one chain, in memory at once
STABLE_S: Final = 15.0
PATIENCE: Final = 0.25  # of a lease, of which a third is what passes between two renewals
CLAIM_S: Final = 30.0  # for making an orphan whole; who dies of it leaves it to the next one
# 10 000 frames, 2.3 MB: 4 ms for 90 KB; the usual 6 takes 10 ms for 81 KB.
LEVEL: Final = 1
ON_LOOP_BYTES: Final = 64 * 1024  # deflated in less than a millisecond
Row = Mapping[str, Any]

_KEPT = (
    "id, trace_id, correlation_id, conversation_id, key_name, status, model, background,"
    " previous_response_id, resource, input_items, extract(epoch FROM created_at)::float8"
    " AS created_at"
)
_COLUMNS = f"{_KEPT}, coalesce(lease_until < now(), false) AS orphaned"
_GET = f"SELECT {_COLUMNS}, events FROM api_responses WHERE id = %s"
# How large a value is stands beside it: only what is within the bounds is read.
_CHAIN = f"""
WITH RECURSIVE chain (place, link, previous, bytes) AS (
    SELECT 1, id, previous_response_id, octet_length(resource) + octet_length(input_items)::int8
    FROM api_responses WHERE id = %(id)s
  UNION ALL
    SELECT place + 1, r.id, r.previous_response_id,
        bytes + octet_length(r.resource) + octet_length(r.input_items)
    FROM chain JOIN api_responses r ON r.id = chain.previous
    WHERE place < %(most)s AND bytes < %(bytes)s
)
SELECT {_COLUMNS} FROM chain JOIN api_responses ON id = link
WHERE place = 1 OR bytes <= %(bytes)s ORDER BY place DESC
"""
_DELETE = "DELETE FROM api_responses WHERE id = %s"
# A row that somebody holds, frozen perhaps, must not keep the others from being renewed.
_RENEW = """
WITH free AS (SELECT id FROM api_responses
    WHERE id = ANY(%(ids)s) AND lease_until IS NOT NULL FOR UPDATE SKIP LOCKED),
renewed AS (UPDATE api_responses SET lease_until = now() + make_interval(secs => %(lease_s)s)
    WHERE id IN (SELECT id FROM free))
SELECT id, cancel_asked FROM api_responses WHERE id = ANY(%(ids)s) AND lease_until IS NOT NULL
"""
_ASK_CANCEL = """
UPDATE api_responses SET cancel_asked = true WHERE id = %s AND lease_until IS NOT NULL
"""
# Leased anew to whoever takes it up, so that no two do.  Should the gateway that made it come back
# from wherever it was, it is told to stop as by a cancel.
_ORPHANS = f"""
UPDATE api_responses SET cancel_asked = true,
    lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE id IN (SELECT id FROM api_responses
    WHERE lease_until < now() AND NOT id = ANY(%(but)s::text[])
    ORDER BY lease_until LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING {_KEPT}, true AS orphaned
"""


class PostgresResponseStore:
    """`stable_s`: for so long after PostgreSQL was away, or frozen, as far as this gateway saw,
    nothing is taken for an orphan: nobody could renew a lease meanwhile.  Give it the length of a
    lease."""

    def __init__(
        self,
        pool: PostgresPool,
        *,
        stable_s: float = STABLE_S,
        chain_bytes: int = CHAIN_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._stable_s = stable_s
        self._chain_bytes = chain_bytes
        self._monotonic = monotonic
        self._well_since: float | None = None
        self._begun: dict[object, float] = {}  # the transactions that run, and since when
        self._creates = Grouped(partial(self._insert, CREATE))
        self._keeps = Grouped(partial(self._insert, KEEP))
        self._finishes = Grouped(self._finish)

    async def close(self) -> None:
        """What is being written is given up; before the pool is closed."""
        for grouped in (self._creates, self._keeps, self._finishes):
            await grouped.close()

    async def create(self, new: NewResponse, *, lease_s: float) -> None:
        """See ResponseStore.  None is made where one of its ids was forgotten meanwhile: it is as
        one that was deleted."""
        await self._creates.add(Made(new, lease_s=lease_s))

    async def keep(self, new: NewResponse, events: bytes) -> None:
        """See ResponseStore and `create`; it takes the place of a live row of the same id."""
        await self._keeps.add(Made(new, await _deflated(events)))

    async def finish(
        self, response_id: str, status: Status, resource: bytes, events: bytes
    ) -> bool:
        """See ResponseStore.  True again for the same `resource`."""
        one = Finished(storable_text(response_id), status, resource, await _deflated(events))
        if await self._finishes.add(one):
            return True
        async with self._exchange() as connection:
            return await finish_one(connection, one)

    async def get(self, response_id: str) -> StoredResponse | None:
        """See ResponseStore.  `chain` with `most=1` reads the row without its events."""
        async with self._transaction() as connection:
            rows = await _rows(connection, _GET, (storable_text(response_id),))
        return self._stored(rows[0], await _inflated(rows[0]["events"])) if rows else None

    async def chain(self, response_id: str, *, most: int) -> Sequence[StoredResponse]:
        """See ResponseStore.  Fewer, too, where they are more than `chain_bytes` together; the one
        of `response_id` is always there."""
        values = {"id": storable_text(response_id), "most": most, "bytes": self._chain_bytes}
        async with self._transaction() as connection:
            rows = await _rows(connection, _CHAIN, values)
        return [self._stored(row) for row in rows]

    async def delete(self, response_id: str) -> bool:
        """See ResponseStore."""
        return await self._execute(_DELETE, (storable_text(response_id),)) > 0

    async def renew(self, ids: Sequence[str], *, lease_s: float) -> Sequence[str]:
        """See ResponseStore."""
        if not ids:
            return []
        async with self._transaction() as connection:
            live = await connection.execute(_RENEW, {"ids": list(ids), "lease_s": lease_s})
            asked: dict[str, bool] = dict(await live.fetchall())
        return [each for each in ids if asked.get(each, True)]

    async def ask_cancel(self, response_id: str) -> bool:
        """See ResponseStore."""
        return await self._execute(_ASK_CANCEL, (storable_text(response_id),)) > 0

    async def orphans(self, but: Sequence[str], *, most: int) -> Sequence[StoredResponse]:
        """See ResponseStore.  They are the caller's for CLAIM_S: no other gateway is told of them,
        unless somebody reads them after that."""
        values = {"lease_s": CLAIM_S, "but": list(but), "most": most}
        async with self._transaction() as connection:
            if not self._stable():
                await connection.execute("SELECT 1")
                return []
            rows = await _rows(connection, _ORPHANS, values)
            if not self._stable():  # it was frozen meanwhile: take none
                raise Rollback
            return [self._stored(row) for row in rows]
        return []

    async def _insert(self, statement: str, made: Sequence[Made]) -> Sequence[None]:
        async with self._exchange() as connection:
            await insert(connection, statement, made)
        return [None for _ in made]

    async def _finish(self, finished: Sequence[Finished]) -> Sequence[bool]:
        async with self._exchange() as connection:
            return await finish(connection, finished)

    async def _execute(self, statement: str, values: Sequence[object] | Row) -> int:
        """How many rows it changed."""
        async with self._exchange() as connection:
            return (await connection.execute(statement.encode(), values)).rowcount

    def _transaction(self) -> AbstractAsyncContextManager[Connection]:
        return self._watched(self._pool.transaction())

    def _exchange(self) -> AbstractAsyncContextManager[Connection]:
        return self._watched(self._pool.exchange())

    @asynccontextmanager
    async def _watched(
        self, lent: AbstractAsyncContextManager[Connection]
    ) -> AsyncIterator[Connection]:
        mark = object()
        self._begun[mark] = self._monotonic()
        try:
            async with lent as connection:
                yield connection
        except PartUnavailable:
            self._well_since = None
            raise
        finally:
            if self._frozen():
                self._well_since = None
            del self._begun[mark]
        if self._well_since is None:
            self._well_since = self._monotonic()

    def _stable(self) -> bool:
        since = self._well_since
        well = since is not None and self._monotonic() - since >= self._stable_s
        return well and not self._frozen()

    def _frozen(self) -> bool:
        """Something is being waited for longer than a lease can do without being renewed: when the
        server goes on, those who look for orphans may be faster than those who renew."""
        oldest = next(iter(self._begun.values()), None)
        patience_s = self._stable_s * PATIENCE
        return oldest is not None and self._monotonic() - oldest > patience_s > 0

    def _stored(self, row: Row, events: bytes = b"") -> StoredResponse:
        fields = {name: row[name] for name in _FIELDS}
        return StoredResponse(**fields, events=events, orphaned=row["orphaned"] and self._stable())


_FIELDS = (
    "id",
    "trace_id",
    "correlation_id",
    "conversation_id",
    "key_name",
    "created_at",
    "status",
    "model",
    "resource",
    "input_items",
    "background",
    "previous_response_id",
)


async def _rows(
    connection: Connection, statement: str, values: Sequence[object] | Row
) -> list[dict[str, Any]]:
    # Binary: bytes in text are two characters each, and are read from them on the loop.
    cursor = connection.cursor(row_factory=dict_row, binary=True)
    return await (await cursor.execute(statement.encode(), values)).fetchall()


async def _deflated(events: bytes) -> bytes:
    if len(events) <= ON_LOOP_BYTES:
        return zlib.compress(events, LEVEL) if events else b""
    return await asyncio.to_thread(zlib.compress, events, LEVEL)


async def _inflated(deflated: bytes) -> bytes:
    if not deflated:
        return b""
    if len(deflated) <= ON_LOOP_BYTES // 16:
        return zlib.decompress(deflated)
    return await asyncio.to_thread(zlib.decompress, deflated)
