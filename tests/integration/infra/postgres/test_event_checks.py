"""Checks that find what is wrong, each shown something wrong."""

import time
from collections.abc import Sequence
from dataclasses import replace

import psycopg
from psycopg import sql

from appliance.domain.events.delivery import Delivery, Rejected
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import Embedding, Exchange
from appliance.infra.postgres.event_checks import (
    KEYS,
    MOST_ORPHANS,
    ROWS_OF,
    Orphan,
    chats_without_lineage,
    duplicates,
    lineage_orphans,
)
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries
from tests.fakes.flows import moderated
from tests.fakes.kept_events import TABLES, recent


async def _write(pool: PostgresPool, *exchanges: Exchange, but: Sequence[str] = ()) -> None:
    for subject, durable in DURABLES.items():
        if not set(durable.tables) & set(but):
            batch = deliveries(subject, *exchanges)
            assert not (await writer_for(subject, pool).write(batch)).rejected


def _execute(dsn: str, *statements: sql.Composed | sql.SQL) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _age(exchange: Exchange, seconds: float) -> Exchange:
    return replace(exchange, occurred_at=time.time() - seconds)


def test_every_table_of_events_can_be_checked() -> None:
    assert {*TABLES, "knowledge_events"} == set(KEYS)
    assert set(ROWS_OF.values()) <= set(TABLES)


async def test_a_row_that_is_there_twice_is_counted_in_every_table(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, recent(1), recent(2))
    since = time.time() - 3600
    assert not any([await duplicates(pool, table, since) for table in KEYS])
    for table in TABLES:
        name = {"table": sql.Identifier(table), "key": sql.Identifier(f"{table}_pkey")}
        again = sql.SQL("INSERT INTO {table} SELECT * FROM {table} LIMIT 1").format(**name)
        _execute(dsn, sql.SQL("ALTER TABLE {table} DROP CONSTRAINT {key}").format(**name))
        _execute(dsn, again, again)
        assert await duplicates(pool, table, since) == 2, table
        assert await duplicates(pool, table, time.time() + 60) == 0, table
    # Its pair is there three times, its answer in the history once: that of `LIMIT 1` is no answer.
    assert await duplicates(pool, "knowledge_events", since) == 2


async def test_a_node_whose_parent_is_missing_is_an_orphan(pool: PostgresPool, dsn: str) -> None:
    broken, whole = recent(1), recent(2)
    await _write(pool, broken, whole)
    since = time.time() - 3600
    assert await lineage_orphans(pool, since, 0) == []
    with psycopg.connect(dsn, autocommit=True) as connection:
        where = "DELETE FROM flow_lineage WHERE trace_id = %s AND node_id = 'retrieve'"
        connection.execute(where, (broken.trace_id,))
    orphans = [Orphan(broken.trace_id, "rerank", "retrieve")]
    assert await lineage_orphans(pool, since, 3600) == orphans
    assert await lineage_orphans(pool, time.time() + 60, 0) == []


async def test_a_node_without_the_row_it_tells_of_is_an_orphan(
    pool: PostgresPool, dsn: str
) -> None:
    made = [_age(recent(n), 120) for n in range(len(ROWS_OF) + 1)]
    await _write(pool, *made)
    broken = dict(zip(ROWS_OF.values(), made, strict=False))
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table, lacks in broken.items():
            deleted = sql.SQL("DELETE FROM {} WHERE trace_id = %s").format(sql.Identifier(table))
            connection.execute(deleted, (lacks.trace_id,))
    since = time.time() - 3600
    found = await lineage_orphans(pool, since, 60)
    assert {each.missing: each.trace_id for each in found} == {
        table: lacks.trace_id for table, lacks in broken.items()
    }
    assert len(found) == len(ROWS_OF)
    assert await lineage_orphans(pool, since, 600) == []  # they may still come


async def test_who_only_embeds_or_moderates_or_failed_at_once_lacks_nothing(
    pool: PostgresPool,
) -> None:
    embeds = recent(
        1,
        operation="embeddings",
        embedding=Embedding("request", "minilm", ("a",)),
        retrieval=None,
        tool_calls=(),
        tool_results=(),
        feedback=None,
    )
    failed = recent(
        2,
        status="failed",
        http_status=502,
        attempts=(),
        retrieval=None,
        tool_calls=(),
        tool_results=(),
        feedback=None,
    )
    judged = moderated(recent(3))
    await _write(pool, *(_age(each, 120) for each in (embeds, failed, judged)))
    assert await lineage_orphans(pool, time.time() - 3600, 60) == []
    assert await chats_without_lineage(pool, time.time() - 3600, 60) == []


async def test_a_dead_letter_is_known_and_no_orphan(pool: PostgresPool) -> None:
    made = _age(recent(1), 120)
    await _write(pool, made, but=("compose_events",))
    assert len(await lineage_orphans(pool, 0.0, 60)) == 1
    event = deliveries(DURABLES_COMPOSE, made)[0]
    buried = Delivery("PIPELINE", event.subject, 1, 20, event.event_id, event.data)
    await writer_for(DURABLES_COMPOSE, pool).bury([Rejected(buried, "why", final=True)])
    assert await lineage_orphans(pool, 0.0, 60) == []


DURABLES_COMPOSE = next(s for s, d in DURABLES.items() if "compose_events" in d.tables)


async def test_a_chat_without_a_lineage_is_found(pool: PostgresPool) -> None:
    lacks, has = _age(recent(1), 120), _age(recent(2), 120)
    await _write(pool, lacks, but=("flow_lineage",))
    await _write(pool, has)
    assert await chats_without_lineage(pool, time.time() - 3600, 60) == [lacks.trace_id]
    assert await chats_without_lineage(pool, time.time() - 3600, 600) == []


async def test_orphans_are_told_up_to_a_number(pool: PostgresPool, dsn: str) -> None:
    await _write(pool, *(_age(recent(n), 120) for n in range(MOST_ORPHANS + 10)))
    _execute(dsn, sql.SQL("DELETE FROM retrieve_events"))
    assert len(await lineage_orphans(pool, 0.0, 60)) == MOST_ORPHANS
