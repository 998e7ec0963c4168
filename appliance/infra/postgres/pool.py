"""Connections to PostgreSQL, kept for reuse.  Under every adapter of this folder.

Not psycopg_pool: while the server is away it lets every caller wait for the whole timeout (3.0 s at
the defaults, less than 10 ms here), and its attempts double their distance.  Here a dead idle
connection is seen without a round trip, a refused connection is an answer at once, and a server
that is back is used within `_BACKOFF_MAX_S`.  The pool starts without a database.
"""

import asyncio
import logging
import os
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, errors

from appliance.domain.errors import PartUnavailable

Connection = AsyncConnection[tuple[Any, ...]]

# It warns of every statement that was given up: here that is a caller who left.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_BACKOFF_MIN_S = 0.1
_BACKOFF_MAX_S = 1.0
_UNREACHED = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
)
# Those that the server knows: PostgreSQL 16 has no transaction_timeout.  18.6 needs it: between two
# pipelines, and with a statement_timeout, it never ends an idle transaction for being idle.
_LIMIT = """
SELECT set_config(name, (CASE name WHEN 'statement_timeout' THEN %s ELSE %s END)::text, false)
FROM pg_settings WHERE name IN
    ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
_NOT_MIGRATED = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject)


class PostgresPool:
    """At most `max_size` connections in autocommit mode, made when they are needed.

    A caller waits `connect_timeout_s` at most for a connection, and `timeout_s` for all it does
    with it; the server ends a statement after `timeout_s` too, and after twice that a transaction
    nobody goes on with: a process that is frozen in one must not keep its locks.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_size: int = 8,
        connect_timeout_s: float = 3.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._dsn = dsn
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(max_size)
        self._idle: list[Connection] = []
        self._retry_at = 0.0
        self._backoff_s = 0.0
        self._refusal = ""
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections; those in use are closed when they are given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end of the block, undone by an error.

        Raises PartUnavailable(part="postgres") when the server cannot be reached, is too slow, or
        has not been migrated; other psycopg errors (a constraint, a value) pass.
        """
        async with self.exchange() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[Connection]:
        """A connection for one statement, or for one `pipeline()` of them: the server makes either
        a transaction of its own, without the round trips of BEGIN and COMMIT.

        Raises what `transaction` raises.
        """
        connection = await self._acquire()
        try:
            async with asyncio.timeout(self._timeout_s):
                yield connection
        except TimeoutError as exc:
            raise _unavailable(f"did not answer within {self._timeout_s:g} s") from exc
        except _NOT_MIGRATED as exc:
            raise _unavailable(f"{_line(exc)}: run `appliance migrate`") from exc
        except _UNREACHED as exc:
            raise _unavailable(_line(exc)) from exc
        finally:
            await self._release(connection)

    async def ping(self) -> None:
        """One round trip; raises PartUnavailable(part="postgres")."""
        async with self.transaction() as connection:
            await connection.execute("SELECT 1")

    async def _acquire(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._slots.acquire()
                try:
                    return await self._usable()
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError as exc:
            sentence = f"gave no connection within {self._connect_timeout_s:g} s"
            if not self._slots.locked():
                self._failed(sentence)
            raise _unavailable(sentence) from exc

    async def _usable(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if _alive(connection):
                return connection
            await connection.close()
        return await self._connect()

    async def _connect(self) -> Connection:
        if not self._dsn:
            raise _unavailable("is not configured ([postgres] dsn)")
        if time.monotonic() < self._retry_at:
            raise _unavailable(self._refusal)
        try:
            connection = await self._opened()
        except psycopg.OperationalError as exc:
            self._failed(_line(exc))
            raise _unavailable(_line(exc)) from exc
        except psycopg.Error as exc:  # the text of a DSN that cannot be read may hold the password
            raise _unavailable("[postgres] dsn is not a connection string") from exc
        self._backoff_s = 0.0
        return connection

    async def _opened(self) -> Connection:
        connection = await _Severed.connect(
            self._dsn, autocommit=True, application_name="appliance"
        )
        most_ms = max(1, round(self._timeout_s * 1000))
        try:
            await connection.execute(_LIMIT, (most_ms, 2 * most_ms))
        except BaseException:
            await connection.close()
            raise
        return connection

    def _failed(self, sentence: str) -> None:
        """Answer at once for a moment, longer each time: a server that is down is not hammered."""
        self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_MIN_S), _BACKOFF_MAX_S)
        self._retry_at = time.monotonic() + self._backoff_s
        self._refusal = sentence

    async def _release(self, connection: Connection) -> None:
        try:
            idle = connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if idle and not self._closed:
                self._idle.append(connection)
            else:
                await connection.close()
        finally:
            self._slots.release()


class _Severed(AsyncConnection[Any]):
    """A connection that a cancelled caller leaves at once.

    psycopg asks the server to cancel the statement and waits for that, 10 s in all when the server
    is frozen.  Cutting the socket costs a new connection later; statement_timeout ends the rest.
    """

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


def _alive(connection: Connection) -> bool:
    """False when the server closed it: nothing is due on an idle connection but its end."""
    if connection.closed:
        return False
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not watch.poll(0)


def _line(exc: BaseException) -> str:
    """The first line of what PostgreSQL said; psycopg appends statement and hints."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


def _unavailable(sentence: str) -> PartUnavailable:
    return PartUnavailable(f"PostgreSQL: {sentence}", part="postgres")
