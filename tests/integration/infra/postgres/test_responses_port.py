"""What every ResponseStore does: the one of PostgreSQL, and the one the tests of responses use."""

import asyncio
from dataclasses import replace

import pytest

from appliance.domain.responses.ports import ResponseStore
from appliance.domain.responses.record import NewResponse, Status
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.responses import PostgresResponseStore
from tests.fakes.responses import MemoryResponses
from tests.fakes.stored_responses import FRAME, response

LEASE_S = 30.0


@pytest.fixture(params=["memory", "postgresql"])
async def store(request: pytest.FixtureRequest, pool: PostgresPool) -> ResponseStore:
    if request.param == "memory":
        return MemoryResponses()
    made = PostgresResponseStore(pool, stable_s=0)
    await made.delete("nobody")  # it has seen its database: a lease that runs out means something
    return made


async def live(store: ResponseStore, trace_id: str = "t", lease_s: float = LEASE_S) -> NewResponse:
    new = response(trace_id, status="in_progress")
    await store.create(new, lease_s=lease_s)
    return new


async def seen(store: ResponseStore, new: NewResponse) -> tuple[Status, bytes, bytes]:
    """Of a row that is there."""
    row = await store.get(new.id)
    assert row is not None
    return row.status, row.resource, row.events


async def test_a_row_that_is_made_twice_is_the_first_one(store: ResponseStore) -> None:
    new = await live(store)
    await store.create(replace(new, resource=b"{2}"), lease_s=LEASE_S)
    assert await seen(store, new) == ("in_progress", new.resource, b"")


async def test_keep_takes_the_place_of_a_live_row_alone(store: ResponseStore) -> None:
    new = await live(store)
    await store.keep(replace(new, status="completed", resource=b"{1}"), FRAME)
    await store.keep(replace(new, status="failed", resource=b"{2}"), b"")
    await store.create(new, lease_s=LEASE_S)
    assert await seen(store, new) == ("completed", b"{1}", FRAME)


async def test_a_row_ends_once_and_says_so_twice(store: ResponseStore) -> None:
    new = await live(store)
    assert await store.finish(new.id, "completed", b"{1}", FRAME)
    assert await store.finish(new.id, "completed", b"{1}", FRAME)
    assert not await store.finish(new.id, "failed", b"{2}", b"")
    assert not await store.finish("resp_nobody", "failed", b"{2}", b"")
    assert await seen(store, new) == ("completed", b"{1}", FRAME)


async def test_what_is_deleted_is_gone_with_what_was_asked_of_it(store: ResponseStore) -> None:
    new = await live(store)
    assert await store.ask_cancel(new.id)
    assert await store.delete(new.id)
    assert not await store.delete(new.id)
    assert await store.get(new.id) is None
    assert await store.chain(new.id, most=9) == []
    assert not await store.finish(new.id, "completed", b"{1}", FRAME)
    await live(store)
    assert await store.renew([new.id], lease_s=LEASE_S) == []


async def test_only_what_is_live_is_cancelled_and_whoever_renews_is_told(
    store: ResponseStore,
) -> None:
    one, two, whole = [await live(store, trace_id) for trace_id in ("a", "b", "c")]
    await store.finish(whole.id, "completed", b"{1}", FRAME)
    ids = [one.id, two.id, whole.id, "resp_nobody"]
    assert [await store.ask_cancel(each) for each in ids[1:]] == [True, False, False]
    assert await store.renew(ids, lease_s=LEASE_S) == ids[1:]
    assert await store.renew([], lease_s=LEASE_S) == []


async def test_an_orphan_is_taken_up_once_and_who_made_it_is_told(store: ResponseStore) -> None:
    left = [(await live(store, name, lease_s=0)).id for name in ("a", "b", "c")]
    kept = await live(store, "kept")
    row = await store.get(left[0])
    assert row is not None
    assert row.orphaned
    taken = [await store.orphans((), most=most) for most in (2, 2, 2)]
    assert [len(some) for some in taken] == [2, 1, 0]
    assert sorted(row.id for some in taken for row in some) == left
    assert all(row.orphaned and not row.events for some in taken for row in some)
    row = await store.get(left[0])
    assert row is not None
    assert not row.orphaned
    assert await store.renew([*left, kept.id], lease_s=LEASE_S) == left


async def test_nobody_takes_up_what_is_its_own(store: ResponseStore) -> None:
    own, another = await live(store, "own", lease_s=0), await live(store, "another", lease_s=0)
    assert [row.id for row in await store.orphans([own.id], most=9)] == [another.id]
    assert await store.renew([own.id, another.id], lease_s=LEASE_S) == [another.id]
    assert await store.orphans((), most=9) == []


async def test_a_lease_that_is_renewed_in_time_or_late_is_no_orphan(store: ResponseStore) -> None:
    new = await live(store, lease_s=0)
    assert await store.renew([new.id], lease_s=LEASE_S) == []
    assert await store.orphans((), most=9) == []
    row = await store.get(new.id)
    assert row is not None
    assert not row.orphaned


async def test_one_that_is_whole_is_never_an_orphan(store: ResponseStore) -> None:
    new = await live(store, lease_s=0)
    await store.finish(new.id, "completed", b"{1}", FRAME)
    assert await store.orphans((), most=9) == []


async def test_a_chain_is_oldest_first_and_bounded(store: ResponseStore) -> None:
    for trace_id, previous in (("a", ""), ("b", "a"), ("c", "b")):
        await store.keep(response(trace_id, previous=previous), FRAME)
    chains = await asyncio.gather(*(store.chain("resp_c", most=most) for most in (1, 2, 9)))
    assert [[row.trace_id for row in chain] for chain in chains] == [
        ["c"],
        ["b", "c"],
        ["a", "b", "c"],
    ]
    assert not any(row.events for chain in chains for row in chain)
