"""Forgetting beside writers that have not heard of it yet."""

import asyncio
from dataclasses import replace

import pytest

from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import Exchange, Feedback
from appliance.infra.postgres.forget import forget, forgotten_among, look
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.fakes.kept_events import TABLES, recent


async def _write(pool: PostgresPool, *exchanges: Exchange) -> None:
    for subject in DURABLES:
        written = await writer_for(subject, pool).write(deliveries(subject, *exchanges))
        assert written.rejected == []


@pytest.mark.parametrize("which", ["trace_id", "correlation_id", "conversation_id"])
async def test_no_row_of_it_is_left_whatever_is_written_at_the_same_time(
    dsn: str, which: str
) -> None:
    gone = recent(1, correlation_id="caller", conversation_id="talk")
    others = [
        replace(recent(number), correlation_id=f"other-{number}", conversation_id="others")
        for number in range(2, 12)
    ]

    async def keep_writing(pool: PostgresPool) -> None:
        for each in others:  # the same event comes again with every batch, as after an outage
            await _write(pool, gone, each)

    async with PostgresPool(dsn) as pool:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_writing(pool))
            await asyncio.sleep(0)
            await _write(pool, gone)
            await forget(pool, getattr(gone, which))
        assert not any((await look(pool, getattr(gone, which))).rows.values())
        assert await forgotten_among(pool, [gone.trace_id, others[0].trace_id]) == {gone.trace_id}
    for table in TABLES:
        found = {row[0] for row in rows(dsn, f"SELECT trace_id FROM {table}")}
        assert found == {each.trace_id for each in others}, table
    dangling = (
        "SELECT count(*) FROM chat_history h WHERE NOT EXISTS"
        " (SELECT FROM message_contents c WHERE c.hash = h.content_hash)"
    )
    assert rows(dsn, dangling) == [(0,)]


async def test_what_it_looks_up_is_what_it_takes(dsn: str) -> None:
    async with PostgresPool(dsn) as pool:
        await _write(pool, recent(1, conversation_id="talk"), recent(2, conversation_id="talk"))
        seen = await look(pool, "talk")
        taken = await forget(pool, "talk")
        assert seen.traces == taken.traces
        assert len(taken.sequences) > 0
        assert seen.rows == {t: n for t, n in taken.rows.items() if t != "message_contents"}
        assert (await look(pool, "talk")).traces == frozenset()


async def test_what_was_asked_before_its_id_was_forgotten_becomes_no_row_however_late(
    dsn: str,
) -> None:
    late = recent(1, conversation_id="nobody yet")
    async with PostgresPool(dsn) as pool:
        assert (await forget(pool, "nobody yet")).traces == frozenset()
        await _write(pool, late)
    assert not any(rows(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES)


async def test_what_is_asked_after_its_id_was_forgotten_is_kept_until_it_is_forgotten_again(
    dsn: str,
) -> None:
    async with PostgresPool(dsn) as pool:
        await forget(pool, "talk")
        goes_on = recent(1, conversation_id="talk")
        await _write(pool, goes_on)
        assert (await forget(pool, "talk")).traces == {goes_on.trace_id}
        await _write(pool, goes_on)
    assert not any(rows(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES)


def _rating(number: int, rated: Exchange) -> Exchange:
    """A request of its own that rates `rated`, as a gateway records it."""
    given = Feedback(rated.trace_id, -1, f"comment {number}")
    nothing = {"tool_calls": (), "tool_results": (), "retrieval": None, "rerank": None}
    return recent(
        number,
        operation="feedback",
        correlation_id=f"rating-{number}",
        conversation_id=f"ratings-{number}",
        feedback=given,
        **nothing,
    )


@pytest.mark.parametrize("which", ["trace_id", "correlation_id", "conversation_id"])
async def test_what_was_said_of_an_exchange_goes_with_it(dsn: str, which: str) -> None:
    gone, other = recent(1, correlation_id="caller", conversation_id="talk"), recent(2)
    of_gone, of_other = _rating(3, gone), _rating(4, other)
    async with PostgresPool(dsn) as pool:
        await _write(pool, gone, other, of_gone, of_other)
        taken = await forget(pool, getattr(gone, which))
        assert taken.traces == {gone.trace_id, of_gone.trace_id}
        assert taken.rows["feedback"] == 2  # it rates itself, too
        await _write(pool, gone, other, of_gone, of_other)
    found = rows(dsn, "SELECT feedback_trace_id FROM feedback")
    assert {row[0] for row in found} == {other.trace_id, of_other.trace_id}


@pytest.mark.parametrize("which", ["trace_id", "correlation_id", "conversation_id"])
async def test_feedback_that_is_forgotten_leaves_what_it_rates(dsn: str, which: str) -> None:
    rated = recent(1)
    gone, other = _rating(2, rated), _rating(3, rated)
    async with PostgresPool(dsn) as pool:
        await _write(pool, rated, gone, other)
        seen = await look(pool, getattr(gone, which))
        taken = await forget(pool, getattr(gone, which))
        assert taken.traces == seen.traces == {gone.trace_id}
        assert {t: n for t, n in taken.rows.items() if n} == {"feedback": 1}
        assert len(taken.sequences) == 1
    found = rows(dsn, "SELECT feedback_trace_id FROM feedback")
    assert {row[0] for row in found} == {rated.trace_id, other.trace_id}
    assert rows(dsn, "SELECT trace_id FROM chat_pairs") == [(rated.trace_id,)]
