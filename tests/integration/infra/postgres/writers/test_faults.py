"""PostgreSQL at fault while a batch is written: everything is kept, nothing rejected."""

import asyncio
import threading
from collections.abc import Iterable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery, Written
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.rows import ChatEvent
from appliance.infra.postgres.writers import writer_for
from appliance.infra.postgres.writers.base import Events
from appliance.infra.postgres.writers.chat import ChatWriter
from tests.fakes.deliveries import deliveries, rows
from tests.fakes.postgres import Cluster
from tests.integration.infra.postgres.writers.exchanges import whole


def _batch(numbers: Iterable[int] = range(1, 9)) -> list[Delivery]:
    return deliveries(PERSIST, *(whole(number) for number in numbers))


async def _waits(dsn: str) -> None:
    """Somebody waits for a lock on a table or a row."""
    while not rows(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)


async def _written_then(pool: PostgresPool, dsn: str, batch: list[Delivery]) -> None:
    written = await writer_for(PERSIST, pool).write(batch)
    assert not written.rejected
    assert rows(dsn, "SELECT count(*) FROM chat_pairs") == [(len(batch),)]


async def test_a_migration_that_holds_the_table_is_waited_for(dsn: str, pool: PostgresPool) -> None:
    with psycopg.connect(dsn) as migration:
        migration.execute("ALTER TABLE chat_history ADD COLUMN later text")
        writing = asyncio.ensure_future(writer_for(PERSIST, pool).write(_batch()))
        await _waits(dsn)
    assert not (await writing).rejected
    await _written_then(pool, dsn, _batch())


async def test_a_migration_that_holds_it_for_too_long_is_the_servers_fault(
    dsn: str, pool: PostgresPool
) -> None:
    async with PostgresPool(dsn, timeout_s=0.5) as hasty:
        with psycopg.connect(dsn) as migration:
            migration.execute("ALTER TABLE chat_pairs ADD COLUMN later text")
            with pytest.raises(PartUnavailable):
                await writer_for(PERSIST, hasty).write(_batch())
    await _written_then(pool, dsn, _batch())


async def test_a_deadlock_is_the_servers_fault(dsn: str, pool: PostgresPool) -> None:
    """With a migration that takes the tables in the other order."""
    with psycopg.connect(dsn) as migration:
        migration.execute("LOCK TABLE chat_pairs IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.ensure_future(writer_for(PERSIST, pool).write(_batch()))
        await _waits(dsn)
        try:
            await asyncio.to_thread(
                migration.execute, "LOCK TABLE chat_history IN ACCESS EXCLUSIVE MODE"
            )
        except psycopg.errors.DeadlockDetected:
            migration.rollback()
            assert not (await writing).rejected
        else:
            with pytest.raises(PartUnavailable, match="deadlock"):
                await writing
    await _written_then(pool, dsn, _batch())


async def test_a_session_that_is_ended_is_the_servers_fault(
    dsn: str, pool: PostgresPool, postgres_cluster: Cluster
) -> None:
    database = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn) as migration:
        migration.execute("LOCK TABLE chat_pairs IN ACCESS EXCLUSIVE MODE")
        writing = asyncio.ensure_future(writer_for(PERSIST, pool).write(_batch()))
        await _waits(dsn)
        postgres_cluster.execute_as_superuser(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted",
        )
        with pytest.raises(PartUnavailable):
            await writing
    await _written_then(pool, dsn, _batch())


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (
            "ALTER TABLE chat_pairs ADD COLUMN later text NOT NULL DEFAULT ''; "
            "ALTER TABLE chat_pairs ALTER COLUMN later DROP DEFAULT",
            "ALTER TABLE chat_pairs ALTER COLUMN later SET DEFAULT ''",
        ),
        (
            "ALTER TABLE chat_pairs RENAME COLUMN route TO r",
            "ALTER TABLE chat_pairs RENAME r TO route",
        ),
        ("ALTER TABLE chat_history RENAME TO h", "ALTER TABLE h RENAME TO chat_history"),
        (
            "REVOKE INSERT ON chat_pairs FROM agent_gateway",
            "GRANT INSERT ON chat_pairs TO agent_gateway",
        ),
    ],
)
async def test_tables_that_are_not_ours_to_write_are_waited_for(
    dsn: str, pool: PostgresPool, spoil: str, mend: str
) -> None:
    """Also for statements that were prepared before."""
    for number in range(1, 11):
        await writer_for(PERSIST, pool).write(_batch([number]))
    with psycopg.connect(dsn) as operator:
        operator.execute(spoil.encode())
    for _ in range(2):
        with pytest.raises(PartUnavailable):
            await writer_for(PERSIST, pool).write(_batch(range(11, 14)))
    with psycopg.connect(dsn) as operator:
        operator.execute(mend.encode())
    await writer_for(PERSIST, pool).write(_batch(range(11, 14)))
    assert rows(dsn, "SELECT count(*) FROM chat_pairs") == [(13,)]
    assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_server_that_only_reads_is_waited_for(dsn: str, pool: PostgresPool) -> None:
    database = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn, autocommit=True) as operator:
        operator.execute(
            f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'.encode()
        )
    async with PostgresPool(dsn) as reading:
        with pytest.raises(PartUnavailable, match="read-only"):
            await writer_for(PERSIST, reading).write(_batch())
    with psycopg.connect(dsn, autocommit=True) as operator:
        operator.execute("SET default_transaction_read_only = off")
        operator.execute(
            f'ALTER DATABASE "{database}" RESET default_transaction_read_only'.encode()
        )
    await _written_then(pool, dsn, _batch())


class _Frozen(ChatWriter):
    """Its process stops with all rows in and nothing committed, until another consumer is done."""

    def __init__(self, pool: PostgresPool, dsn: str) -> None:
        super().__init__(pool)
        self._dsn = dsn
        self.others: list[Written] = []

    async def settle(self, connection: Connection, events: Events[ChatEvent]) -> None:
        async def write() -> None:
            async with PostgresPool(self._dsn) as pool:
                self.others.append(await writer_for(PERSIST, pool).write(_batch()))

        other = threading.Thread(target=asyncio.run, args=(write(),))
        other.start()
        other.join()


async def test_a_consumer_frozen_in_the_middle_of_a_batch_does_not_hold_up_the_others(
    dsn: str,
) -> None:
    async with PostgresPool(dsn, timeout_s=3) as pool:
        frozen = _Frozen(pool, dsn)
        with pytest.raises(PartUnavailable):
            await frozen.write(_batch())
        assert [other.inserted for other in frozen.others] == [
            {"chat_history": 24, "chat_pairs": 8}
        ]
        again = await writer_for(PERSIST, pool).write(_batch())
        assert again.inserted == {"chat_history": 0, "chat_pairs": 0}
