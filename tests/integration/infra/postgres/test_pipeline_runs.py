"""Which runs handled an exchange, from the places of its rows in the stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import psycopg
import pytest

from appliance.config.schema import RetentionConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.lineage import LINEAGE
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pipeline_runs import PAIRS, RunPart, query, record, runs_of
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.retention import prune
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.integration.infra.postgres.writers.exchanges import whole

BEGAN = 1_795_000_100.0


async def _write(pool: PostgresPool, number: int, first: int) -> str:
    """An exchange whose events are the messages from `first` on, a subject after the other; its
    trace id."""
    made = whole(number)
    for subject in DURABLES:
        batch = deliveries(subject, made, first=first)
        assert not (await writer_for(subject, pool).write(batch)).rejected
        first += len(batch)
    return made.trace_id


async def _ran(
    pool: PostgresPool,
    run_id: str,
    subject: str,
    *sequences: tuple[int, int],
    occurred: tuple[str, str] | None = None,
    counts: tuple[int, int, int] = (1, 1, 1),
) -> None:
    part = RunPart(run_id, "knowledge_chat_persist", "chat_record", subject, BEGAN)
    events, inserted, offered = counts
    await record(
        pool,
        part,
        sequences,
        events=events,
        inserted=inserted,
        offered=offered,
        occurred=occurred,
    )


async def _runs(pool: PostgresPool, *trace_ids: str) -> set[str]:
    return {row.run_id for row in await runs_of(pool, trace_ids)}


async def test_an_exchange_took_part_in_the_runs_that_covered_its_event_of_that_subject(
    pool: PostgresPool,
) -> None:
    first, second = await _write(pool, 1, 1), await _write(pool, 2, 101)
    await _ran(pool, "covers", PERSIST, (1, 50))
    await _ran(pool, "covers in two", PERSIST, (90, 95), (1, 1))
    await _ran(pool, "covers both", PERSIST, (1, 200))
    await _ran(pool, "other subject", EMBEDDING, (1, 1))
    await _ran(pool, "before and after", PERSIST, (0, 0), (2, 100), (102, 300))
    assert await _runs(pool, first) == {"covers", "covers in two", "covers both"}
    assert await _runs(pool, second) == {"covers both"}
    assert await _runs(pool, "nobody") == set()


async def test_an_exchange_without_a_pair_is_in_nothing_that_was_made_of_pairs(
    pool: PostgresPool,
) -> None:
    answered, failed = await _write(pool, 1, 1), await _write(pool, 2, 101)
    async with pool.transaction() as connection:
        await connection.execute("DELETE FROM chat_pairs WHERE trace_id = %s", (failed,))
    await _ran(pool, "dataset", PAIRS, (1, 300))
    assert await _runs(pool, answered) == {"dataset"}
    assert await _runs(pool, failed) == set()


async def test_every_batch_of_a_run_adds_to_its_row(pool: PostgresPool) -> None:
    trace_id = await _write(pool, 1, 1)
    await _ran(pool, "run", PERSIST, (1, 3), counts=(3, 6, 9))
    await _ran(pool, "run", PERSIST, (4, 9), (20, 20), counts=(7, 1, 21))
    await _ran(pool, "run", LINEAGE, (30, 31), counts=(2, 2, 2))
    await _ran(pool, "run", PERSIST, counts=(0, 0, 0))
    (found,) = await runs_of(pool, [trace_id])
    assert (found.events, found.inserted, found.offered) == (10, 7, 30)
    assert (found.job, found.asset, found.subject) == (
        "knowledge_chat_persist",
        "chat_record",
        PERSIST,
    )
    assert (found.trace_id, found.began_at) == (trace_id, BEGAN)


async def test_both_of_two_that_record_at_once_count(pool: PostgresPool) -> None:
    await asyncio.gather(*(_ran(pool, "run", PERSIST, (n, n)) for n in range(1, 41)))
    trace_id = await _write(pool, 1, 40)
    (found,) = await runs_of(pool, [trace_id])
    assert found.events == 40


async def test_of_a_stream_made_anew_the_same_sequences_are_other_events(
    pool: PostgresPool,
) -> None:
    trace_id = await _write(pool, 1, 1)
    at = "2026-11-18T11:06:41.250000Z"
    await _ran(pool, "its own", PERSIST, (1, 9), occurred=(at, at))
    await _ran(pool, "later", PERSIST, (1, 9), occurred=("2026-11-19T00:00:00Z",) * 2)
    await _ran(pool, "earlier", PERSIST, (1, 9), occurred=("2026-11-17 00:00:00+00",) * 2)
    assert await _runs(pool, trace_id) == {"its own"}


@pytest.mark.parametrize(
    "times", [("-infinity", "infinity"), ("", ""), ("yesterday", "9999-12-31T23:59:59Z")]
)
async def test_times_nobody_can_read_count_as_not_told(
    pool: PostgresPool, times: tuple[str, str]
) -> None:
    trace_id = await _write(pool, 1, 1)
    await _ran(pool, "run", PERSIST, (1, 9), occurred=times)
    assert await _runs(pool, trace_id) == {"run"}


async def test_who_was_forgotten_is_in_no_run(pool: PostgresPool) -> None:
    trace_id, other = await _write(pool, 1, 1), await _write(pool, 2, 101)
    await _ran(pool, "run", PERSIST, (1, 200))
    await forget(pool, trace_id)
    assert await _runs(pool, trace_id) == set()
    assert await _runs(pool, other) == {"run"}


async def test_feedback_is_of_the_request_that_brought_it(pool: PostgresPool) -> None:
    feedback = DURABLES["pipeline.knowledge.feedback"]
    given = whole(1)
    assert given.feedback is not None
    given = replace(given, feedback=replace(given.feedback, rated_trace_id="f" * 32))
    await writer_for(feedback.subject, pool).write(deliveries(feedback.subject, given, first=7))
    await _ran(pool, "run", feedback.subject, (7, 7))
    assert await _runs(pool, given.trace_id) == {"run"}
    assert await _runs(pool, "f" * 32) == set()


async def test_the_index_finds_them_among_ten_thousand_runs(pool: PostgresPool, dsn: str) -> None:
    rows(
        dsn,
        "INSERT INTO pipeline_runs SELECT n::text, 'chat_record', 'job', %s,"
        " int8multirange(int8range(n * 10, n * 10 + 10)), '-infinity', 'infinity', 1, 1, 1, now()"
        " FROM generate_series(1, 10000) AS n RETURNING 1",
        PERSIST,
    )
    trace_id = await _write(pool, 1, 50_001)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ANALYZE pipeline_runs")
        statement = b"EXPLAIN " + query().as_bytes(connection)
        plan = connection.execute(statement, {"ids": [trace_id], "most": 200}).fetchall()
    assert "pipeline_runs_sequences" in str(plan)
    assert "Seq Scan on pipeline_runs" not in str(plan)
    assert await _runs(pool, trace_id) == {"5000"}


async def test_runs_have_a_retention_of_their_own(pool: PostgresPool) -> None:
    trace_id = await _write(pool, 1, 1)
    await _ran(pool, "run", PERSIST, (1, 9))
    ((now,),) = await _now(pool)
    week = RetentionConfig(pipeline_runs=7, api_responses=0)
    assert await prune(pool, week, now) == {"pipeline_runs": 0}
    assert await prune(pool, week, now + 8 * 86_400) == {"pipeline_runs": 1}
    assert await _runs(pool, trace_id) == set()


async def _now(pool: PostgresPool) -> Sequence[tuple[float]]:
    async with pool.transaction() as connection:
        found = await connection.execute("SELECT extract(epoch FROM now())::float8")
        return await found.fetchall()
