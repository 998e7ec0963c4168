import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest

from appliance.config.schema import KnowledgeConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.knowledge.retrieve import Retriever
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore
from tests.fakes.embedder import WordEmbedder
from tests.fakes.postgres import Cluster

# A limit of 0.3 to 1 s and what a busy machine adds; psycopg would take 10 s and more.
LIMITED_S = 8.0


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """One to kill and freeze."""
    cluster = Cluster(tmp_path_factory.mktemp("victim"))
    asyncio.run(cluster.create())
    return cluster


@pytest.fixture
async def victim(own_cluster: Cluster) -> AsyncIterator[Cluster]:
    yield own_cluster
    own_cluster.stop()
    own_cluster.start()


@pytest.fixture(scope="module", autouse=True)
def _stopped_in_the_end(own_cluster: Cluster) -> object:
    yield
    own_cluster.stop()


async def _timed(call: Callable[[], Awaitable[object]]) -> tuple[float, BaseException | None]:
    started, failure = time.monotonic(), None
    try:
        await call()
    except (PartUnavailable, TimeoutError) as exc:
        failure = exc
    return time.monotonic() - started, failure


async def _until_usable(pool: PostgresPool) -> None:
    started = time.monotonic()
    while (await _timed(pool.ping))[1] is not None:
        assert time.monotonic() - started < 30
        await asyncio.sleep(0.05)


async def _warm(pool: PostgresPool, connections: int) -> None:
    async def hold() -> None:
        async with pool.transaction() as connection:
            await connection.execute("SELECT pg_sleep(0.2)")

    await asyncio.gather(*(hold() for _ in range(connections)))


async def test_a_transaction_commits_at_its_end_and_is_undone_by_an_error(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn) as pool:
        async with pool.transaction() as connection:
            await connection.execute("CREATE TABLE t (n int PRIMARY KEY)")
            await connection.execute("INSERT INTO t VALUES (1)")

        async def insert(*numbers: int) -> None:
            async with pool.transaction() as connection:
                for number in numbers:
                    await connection.execute("INSERT INTO t VALUES (%s)", (number,))

        with pytest.raises(psycopg.errors.UniqueViolation):
            await insert(2, 1)
        async with pool.transaction() as connection:
            cursor = await connection.execute("SELECT n FROM t")
            assert await cursor.fetchall() == [(1,)]


async def test_a_pipeline_of_an_exchange_is_a_transaction(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn) as pool:
        async with pool.exchange() as connection:
            await connection.execute("CREATE TABLE t (n int PRIMARY KEY)")

        async def insert(*numbers: int) -> None:
            async with pool.exchange() as connection, connection.pipeline():
                await connection.execute("SELECT pg_advisory_xact_lock(1)")
                for number in numbers:
                    await connection.execute("INSERT INTO t VALUES (%s)", (number,))

        with pytest.raises(psycopg.errors.UniqueViolation):
            await insert(1, 2, 1)
        await insert(3)
        async with pool.exchange() as connection:
            cursor = await connection.execute(
                "SELECT n, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') FROM t"
            )
            assert await cursor.fetchall() == [(3, 0)]


async def test_no_more_connections_are_open_than_allowed(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn, max_size=3) as pool:

        async def count() -> int:
            async with pool.transaction() as connection:
                cursor = await connection.execute(
                    "SELECT count(*), pg_sleep(0.3) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND usename = current_user"
                )
                row = await cursor.fetchone()
                assert row is not None
                return int(row[0])

        assert max(await asyncio.gather(*(count() for _ in range(12)))) == 3


async def test_no_server_and_no_dsn_are_answers_at_once() -> None:
    async with PostgresPool("host=127.0.0.1 port=1 user=x dbname=x") as pool:
        for _ in range(3):
            took, failure = await _timed(pool.ping)
            assert isinstance(failure, PartUnavailable)
            assert failure.part == "postgres"
            assert took < LIMITED_S
    assert isinstance((await _timed(PostgresPool("").ping))[1], PartUnavailable)


async def test_a_broken_dsn_does_not_show_its_password() -> None:
    _, failure = await _timed(PostgresPool("host=x password=hunter2 nonsense").ping)
    assert isinstance(failure, PartUnavailable)
    assert "hunter2" not in str(failure)


async def test_missing_tables_say_what_to_run(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn) as pool:

        async def read() -> None:
            async with pool.transaction() as connection:
                await connection.execute("SELECT * FROM documents")

        with pytest.raises(PartUnavailable, match="appliance migrate"):
            await read()


async def test_a_statement_ends_at_the_limit(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn, timeout_s=0.3) as pool:

        async def sleep() -> None:
            async with pool.transaction() as connection:
                await connection.execute("SELECT pg_sleep(20)")

        took, failure = await _timed(sleep)
        assert isinstance(failure, PartUnavailable)
        assert took < LIMITED_S
        assert (await _timed(pool.ping))[1] is None


async def test_a_killed_server_is_an_answer_at_once_and_used_soon_after_it_is_back(
    victim: Cluster,
) -> None:
    async with PostgresPool(victim.postgres.dsn) as pool:
        await _warm(pool, 8)
        victim.kill()
        for _ in range(3):
            took, failure = await _timed(pool.ping)
            assert isinstance(failure, PartUnavailable)
            assert took < LIMITED_S
        await asyncio.sleep(2.0)
        await _timed(pool.ping)
        await asyncio.to_thread(victim.start)
        await _until_usable(pool)


async def test_a_frozen_server_costs_the_callers_limit_and_no_more(victim: Cluster) -> None:
    """psycopg itself would wait 10 s more for the server to confirm the cancellation."""
    async with PostgresPool(victim.postgres.dsn, connect_timeout_s=1.0, timeout_s=1.0) as pool:
        await _warm(pool, 2)
        victim.freeze()

        async def limited() -> None:
            async with asyncio.timeout(0.3):
                await pool.ping()

        assert (await _timed(limited))[0] < LIMITED_S
        for _ in range(2):  # the other idle connection, then a connection that is never made
            took, failure = await _timed(pool.ping)
            assert isinstance(failure, PartUnavailable)
            assert took < LIMITED_S
        victim.thaw()
        await _until_usable(pool)


async def test_a_cancelled_caller_gives_its_place_back(fresh_dsn: str) -> None:
    async with PostgresPool(fresh_dsn, max_size=1) as pool:

        async def sleep() -> None:
            async with pool.transaction() as connection:
                await connection.execute("SELECT pg_sleep(20)")

        for _ in range(3):
            task = asyncio.ensure_future(sleep())
            await asyncio.sleep(0.1)
            task.cancel()
            took, _ = await _timed(lambda task=task: asyncio.wait({task}))
            assert took < LIMITED_S
        assert (await _timed(pool.ping))[1] is None


async def test_a_frozen_server_costs_a_chat_no_more_than_the_retrieval_limit(
    victim: Cluster,
) -> None:
    settings = KnowledgeConfig(retrieve_timeout_s=0.5)
    async with PostgresPool(victim.postgres.dsn) as pool:
        await _warm(pool, 1)
        retriever = Retriever(WordEmbedder(), PgVectorStore(pool), settings)
        victim.freeze()
        for _ in range(2):  # with a connection, and without one
            started = time.monotonic()
            found = await retriever.retrieve("which port?", workspace="default")
            assert found.retrieval.degraded == "postgres"
            assert time.monotonic() - started < settings.retrieve_timeout_s + 3
        victim.thaw()
