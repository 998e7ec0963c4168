"""Responses in the real PostgreSQL: what wins, what is told, and what outlives the server."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.domain.responses.record import NewResponse
from appliance.infra.postgres.forget import forget, look
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.responses import PostgresResponseStore
from tests.fakes.deliveries import rows
from tests.fakes.postgres import Cluster
from tests.fakes.stored_responses import FRAME, response

LEASE_S = 30.0
Store = PostgresResponseStore


class Later:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def other_pool(dsn: str) -> AsyncIterator[PostgresPool]:
    """That of another gateway."""
    async with PostgresPool(dsn) as made:
        yield made


@pytest.fixture
def store(pool: PostgresPool) -> Store:
    return PostgresResponseStore(pool, stable_s=0)


@pytest.fixture
def other(other_pool: PostgresPool) -> Store:
    return PostgresResponseStore(other_pool, stable_s=0)


async def _live(store: Store, trace_id: str = "t", lease_s: float = LEASE_S) -> NewResponse:
    made = response(trace_id, status="in_progress")
    await store.create(made, lease_s=lease_s)
    return made


async def _chained(store: Store, *trace_ids: str, resource: bytes = b"{}") -> None:
    previous = ""
    for each in trace_ids:
        await store.keep(response(each, previous=previous, resource=resource), b"")
        previous = each


async def _traces(store: Store, trace_id: str, most: int = 100) -> list[str]:
    return [each.trace_id for each in await store.chain(f"resp_{trace_id}", most=most)]


async def test_what_was_kept_comes_back_byte_for_byte(store: Store, other: Store) -> None:
    new = replace(response("t", previous="s"), background=True, created_at=1_795_000_000.123456)
    events = FRAME * 10_000 + bytes(range(256))
    await store.keep(new, events)
    found = await other.get(new.id)
    assert found is not None
    for name in NewResponse.__dataclass_fields__:
        assert getattr(found, name) == getattr(new, name), name
    assert (found.events, found.orphaned) == (events, False)
    assert await other.chain(new.id, most=1) == [replace(found, events=b"")]


async def test_one_that_is_live_becomes_whole_once(store: Store, other: Store) -> None:
    new = await _live(store)
    found = await other.get(new.id)
    assert found is not None
    assert (found.status, found.events, found.orphaned) == ("in_progress", b"", False)
    assert await store.finish(new.id, "completed", b"{1}", FRAME)
    assert not await other.finish(new.id, "failed", b"{2}", b"")
    assert not await store.finish("resp_nobody", "completed", b"{1}", b"")
    found = await other.get(new.id)
    assert found is not None
    assert (found.status, found.resource, found.events) == ("completed", b"{1}", FRAME)


async def test_what_was_written_but_never_answered_may_be_written_again(store: Store) -> None:
    """A killed server has committed and not said so."""
    new = await _live(store)
    await store.create(new, lease_s=LEASE_S)
    assert await store.finish(new.id, "completed", b"{1}", FRAME)
    assert await store.finish(new.id, "completed", b"{1}", FRAME)
    await store.create(new, lease_s=LEASE_S)
    found = await store.get(new.id)
    assert found is not None
    assert (found.status, found.events) == ("completed", FRAME)


async def test_keep_takes_the_place_of_a_live_row_and_of_no_other(store: Store) -> None:
    new = await _live(store)
    await store.keep(replace(new, status="completed", resource=b"{1}"), FRAME)
    await store.keep(replace(new, status="failed", resource=b"{2}"), b"")
    found = await store.get(new.id)
    assert found is not None
    assert (found.status, found.resource, found.events) == ("completed", b"{1}", FRAME)
    assert await store.renew([new.id], lease_s=LEASE_S) == [new.id]


async def test_of_many_that_end_it_at_once_one_wins(store: Store, other: Store) -> None:
    for number in range(10):
        new = await _live(store, f"t{number}")
        won = await asyncio.gather(
            *(
                each.finish(new.id, "completed", b"{%d}" % place, b"")
                for place, each in enumerate((store, other, store, other))
            )
        )
        assert won.count(True) == 1
        found = await store.get(new.id)
        assert found is not None
        assert found.resource == b"{%d}" % won.index(True)


async def test_one_that_is_deleted_while_it_ends_is_gone_for_good(
    store: Store, other: Store
) -> None:
    for number in range(10):
        new = await _live(store, f"t{number}")
        _, deleted = await asyncio.gather(
            store.finish(new.id, "completed", b"{1}", b""), other.delete(new.id)
        )
        assert deleted
        assert await store.get(new.id) is None
        assert not await store.delete(new.id)
        assert not await store.finish(new.id, "completed", b"{1}", b"")


async def test_a_cancel_reaches_whoever_renews_and_ends_nothing_itself(
    store: Store, other: Store
) -> None:
    one, two, three = [await _live(store, name) for name in ("a", "b", "c")]
    ids = [one.id, two.id, three.id]
    assert await store.renew(ids, lease_s=LEASE_S) == []
    assert await other.ask_cancel(two.id)
    assert await other.delete(three.id)
    assert await store.renew(ids, lease_s=LEASE_S) == [two.id, three.id]
    assert await store.finish(two.id, "cancelled", b"{}", b"")
    assert not await other.ask_cancel(two.id)
    assert not await other.ask_cancel("resp_nobody")


async def test_a_lease_that_ran_out_is_an_orphan_of_one_gateway(store: Store, other: Store) -> None:
    left = [(await _live(store, f"t{number}", lease_s=0)).id for number in range(20)]
    kept = await _live(store, "kept")
    await other.orphans((), most=0)
    found = await store.get(left[0])
    assert found is not None
    assert found.orphaned
    taken = await asyncio.gather(
        *(each.orphans((), most=7) for each in (store, other, store, other))
    )
    ids = [each.id for some in taken for each in some]
    assert sorted(ids) == sorted(left)
    assert all(each.orphaned for some in taken for each in some)
    assert await store.orphans((), most=7) == []
    assert await other.finish(ids[0], "failed", b"{}", FRAME)
    assert (await store.renew(ids, lease_s=LEASE_S)) == ids  # who made them is told to stop
    assert await store.renew([kept.id], lease_s=LEASE_S) == []


async def test_an_orphan_of_a_gateway_that_died_of_it_is_the_next_ones(
    store: Store, other: Store, dsn: str
) -> None:
    new = await _live(store, lease_s=0)
    await store.get(new.id)
    assert [each.id for each in await store.orphans((), most=7)] == [new.id]
    rows(dsn, "UPDATE api_responses SET lease_until = now() - interval '1 s' RETURNING 1")
    await other.get(new.id)
    assert [each.id for each in await other.orphans((), most=7)] == [new.id]


async def test_nothing_is_an_orphan_until_its_gateway_could_renew_it(dsn: str) -> None:
    """While the database is away nobody can, and then nobody has failed."""
    clock = Later()
    pool = PostgresPool(dsn, max_size=1, connect_timeout_s=0.2)
    store = PostgresResponseStore(pool, stable_s=15, monotonic=clock)
    new = await _live(store, lease_s=0)

    async def seen() -> tuple[bool, int]:
        found = await store.get(new.id)
        assert found is not None
        return found.orphaned, len(await store.orphans((), most=9))

    assert await seen() == (False, 0)
    clock.now = 14.9
    assert await seen() == (False, 0)
    clock.now = 15.0
    found = await store.get(new.id)
    assert found is not None
    assert found.orphaned
    async with pool.transaction():  # the only connection: as if the server did not answer
        with pytest.raises(PartUnavailable):
            await store.orphans((), most=9)
    assert await seen() == (False, 0)
    clock.now = 30.0
    assert await seen() == (True, 1)
    await pool.close()


async def test_nothing_is_an_orphan_when_the_database_was_frozen_while_it_was_asked(
    dsn: str, pool: PostgresPool, other_pool: PostgresPool
) -> None:
    """Those who renew may come to speak after those who look for orphans."""
    clock = Later()
    store = PostgresResponseStore(pool, stable_s=15, monotonic=clock)
    new = await _live(store, lease_s=0)
    clock.now = 20.0
    async with other_pool.transaction() as connection:
        await connection.execute("LOCK TABLE api_responses IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.ensure_future(store.orphans((), most=9))
        reading = asyncio.ensure_future(store.get(new.id))
        waiting = (
            "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'api_responses'::regclass"
        )
        while len(await asyncio.to_thread(rows, dsn, waiting)) < 2:
            await asyncio.sleep(0.01)
        clock.now = 25.0
    found = await reading
    assert (await asking, found and found.orphaned) == ([], False)
    assert rows(dsn, "SELECT cancel_asked FROM api_responses") == [(False,)]
    clock.now = 39.9
    assert await store.orphans((), most=9) == []
    clock.now = 40.0
    assert [each.id for each in await store.orphans((), most=9)] == [new.id]


async def test_a_row_that_somebody_holds_keeps_no_other_from_being_renewed(
    store: Store, other_pool: PostgresPool, dsn: str
) -> None:
    held, free = await _live(store, "held", 0), await _live(store, "free", 0)
    async with other_pool.transaction() as connection, asyncio.timeout(60):
        await connection.execute("SELECT FROM api_responses WHERE id = %s FOR UPDATE", (held.id,))
        assert await store.renew([held.id, free.id], lease_s=LEASE_S) == []
    assert rows(dsn, "SELECT id FROM api_responses WHERE lease_until > now()") == [(free.id,)]


async def test_a_row_that_somebody_holds_keeps_no_other_from_ending(
    store: Store, other_pool: PostgresPool
) -> None:
    held, *free = [await _live(store, f"t{number}") for number in range(8)]
    async with other_pool.transaction() as connection:
        await connection.execute("SELECT FROM api_responses WHERE id = %s FOR UPDATE", (held.id,))
        waits = asyncio.ensure_future(store.finish(held.id, "completed", b"{1}", FRAME))
        ended = [store.finish(each.id, "completed", b"{1}", FRAME) for each in free]
        assert await asyncio.gather(*ended) == [True] * len(free)
        assert not waits.done()
    assert await waits


async def test_many_that_are_made_at_once_are_all_there_and_each_its_own(store: Store) -> None:
    made = [response(f"t{number}", resource=b"{%d}" % number) for number in range(200)]
    await asyncio.gather(*(store.keep(each, each.resource * 2) for each in made))
    for each in made:
        found = await store.get(each.id)
        assert found is not None
        assert (found.resource, found.events) == (each.resource, each.resource * 2)


async def test_one_id_twice_at_once_is_one_row(store: Store) -> None:
    new = response("t")
    await asyncio.gather(*(store.keep(new, FRAME) for _ in range(5)))
    found = await store.get(new.id)
    assert found is not None
    assert found.events == FRAME


async def test_a_chain_is_oldest_first_and_ends_at_a_hole(store: Store) -> None:
    await _chained(store, "a", "b", "c", "d")
    assert await _traces(store, "d") == ["a", "b", "c", "d"]
    assert await _traces(store, "b") == ["a", "b"]
    assert await _traces(store, "d", most=2) == ["c", "d"]
    assert await _traces(store, "nobody") == []
    await store.delete("resp_b")
    (first, _) = await store.chain("resp_d", most=9)
    assert (first.trace_id, first.previous_response_id) == ("c", "resp_b")


async def test_a_chain_is_bounded_in_bytes(pool: PostgresPool) -> None:
    small = PostgresResponseStore(pool, chain_bytes=250_000)
    await _chained(small, "a", "b", "c", "d", resource=b"x" * 100_000)
    assert await _traces(small, "d") == ["c", "d"]
    tiny = PostgresResponseStore(pool, chain_bytes=1)
    assert await _traces(tiny, "d") == ["d"]


async def test_a_chain_that_bites_its_tail_ends(store: Store, dsn: str) -> None:
    await _chained(store, "a", "b")
    rows(dsn, "UPDATE api_responses SET previous_response_id = 'resp_b' RETURNING 1")
    assert await _traces(store, "b", most=5) == ["b"] * 5


async def test_what_no_text_column_takes_is_replaced_or_not_found(store: Store) -> None:
    await store.keep(replace(response("t"), model="a\0b", conversation_id="\ud800"), b"")
    found = await store.get("resp_t")
    assert found is not None
    assert (found.model, found.conversation_id) == ("a\ufffdb", "?")
    assert await store.get("resp_t\0") is None
    assert await store.chain("resp_\0", most=1) == []
    assert not await store.delete("\ud800")


@pytest.mark.parametrize("which", ["trace_id", "correlation_id", "conversation_id"])
async def test_forgetting_takes_responses_live_ones_too(
    store: Store, pool: PostgresPool, which: str
) -> None:
    new, _ = await _live(store, "t"), await _live(store, "other")
    seen = await look(pool, getattr(new, which))
    taken = await forget(pool, getattr(new, which))
    assert seen.rows["api_responses"] == taken.rows["api_responses"] == 1
    assert taken.traces == {"t"}
    assert await store.get(new.id) is None
    assert await store.get("resp_other") is not None
    assert not await store.finish(new.id, "completed", b"{}", b"")
    assert await store.renew([new.id], lease_s=LEASE_S) == [new.id]


async def test_what_was_asked_before_its_id_was_forgotten_is_not_made_after(
    store: Store, pool: PostgresPool
) -> None:
    new = response("t")
    await forget(pool, new.conversation_id)
    await store.keep(new, FRAME)
    await store.create(new, lease_s=LEASE_S)
    assert await store.get(new.id) is None
    goes_on = replace(response("u"), conversation_id=new.conversation_id)
    goes_on = replace(goes_on, created_at=time.time() + 1)
    await store.keep(goes_on, FRAME)
    assert await store.get(goes_on.id) is not None


async def test_forgetting_and_keeping_at_once_leave_nothing(
    store: Store, pool: PostgresPool
) -> None:
    for number in range(10):
        new = response(f"t{number}")
        await asyncio.gather(store.keep(new, FRAME), forget(pool, new.trace_id))
        assert await store.get(new.id) is None


@pytest.fixture
async def victim(postgres_cluster: Cluster, migrated: str) -> AsyncIterator[str]:
    """A database of the shared server, which is thawed in the end."""
    try:
        yield postgres_cluster.create_database(migrated)
    finally:
        postgres_cluster.thaw()


async def test_a_frozen_server_costs_the_limit_and_a_killed_one_loses_nothing(
    postgres_cluster: Cluster, victim: str
) -> None:
    async with PostgresPool(victim, connect_timeout_s=0.5, timeout_s=0.5) as pool:
        store = PostgresResponseStore(pool, stable_s=0)
        new = await _live(store)
        postgres_cluster.freeze()
        for call in (
            store.finish(new.id, "completed", b"{1}", FRAME * 10_000),
            store.renew([new.id], lease_s=LEASE_S),
            store.orphans((), most=1),
        ):
            started = time.monotonic()
            with pytest.raises(PartUnavailable) as failed:
                await call
            assert failed.value.part == "postgres"
            assert time.monotonic() - started < 8
        postgres_cluster.thaw()
        postgres_cluster.kill()
        with pytest.raises(PartUnavailable):
            await store.get(new.id)
        await asyncio.to_thread(postgres_cluster.start)
        async with asyncio.timeout(60):
            while not await _tried(store, new):
                await asyncio.sleep(0.05)
        found = await store.get(new.id)
        assert found is not None
        assert (found.status, found.events) == ("completed", FRAME)


async def _tried(store: Store, new: NewResponse) -> bool:
    try:
        return await store.finish(new.id, "completed", b"{1}", FRAME)
    except PartUnavailable:
        return False
