"""What the pipelines show of a table: no whole text, and no more than was asked for."""

import time
from dataclasses import replace

import psycopg

from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import Exchange
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.table_facts import (
    KINDS,
    any_since,
    exchanges,
    preview,
    row_count,
    schema_of,
)
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries
from tests.fakes.kept_events import TABLES, recent


async def _write(pool: PostgresPool, *made: Exchange) -> None:
    for subject in DURABLES:
        batch = deliveries(subject, *made)
        assert not (await writer_for(subject, pool).write(batch)).rejected


def _age(exchange: Exchange, seconds: float) -> Exchange:
    return replace(exchange, occurred_at=time.time() - seconds)


async def test_exchanges_are_counted_by_what_they_had_since_a_time(pool: PostgresPool) -> None:
    bare = recent(2, retrieval=None, tool_calls=(), tool_results=(), feedback=None)
    await _write(pool, _age(recent(1), 60), _age(bare, 30), _age(recent(3), 7200))
    found = await exchanges(pool, time.time() - 3600)
    assert (found.count, found.embedded) == (2, 0)
    assert found.kinds == {**dict.fromkeys(KINDS, 1), "flow_lineage": 2}
    assert (await exchanges(pool, 0.0)).count == 3
    none = await exchanges(pool, time.time() + 60)
    assert (none.count, none.oldest, none.newest) == (0, None, None)


async def test_rows_are_counted_and_new_ones_noticed(pool: PostgresPool) -> None:
    await _write(pool, _age(recent(1), 60), _age(recent(2), 7200))
    assert await row_count(pool, "chat_pairs") == 2
    assert await row_count(pool, "chat_pairs", exactly=True) == 2
    assert await row_count(pool, "knowledge_events") is None
    assert await any_since(pool, "chat_pairs", time.time() - 3600)
    assert not await any_since(pool, "chat_pairs", time.time())


async def test_a_preview_shows_the_newest_and_no_whole_text(pool: PostgresPool) -> None:
    long = "word " * 1000
    texts = {"answer": long, "messages": ({"role": "user", "content": long},)}
    older, newest = _age(recent(1, **texts), 60), _age(recent(2, **texts), 30)
    await _write(pool, older, newest)
    for table in (*TABLES, "knowledge_events"):
        (shown,) = await preview(pool, table, 1, since=0.0)
        assert shown["trace_id"] == newest.trace_id, table
        assert list(shown) == [column.name for column in await schema_of(pool, table)]
        assert all(len(str(value)) <= 80 for value in shown.values()), table
        assert await preview(pool, table, 5, since=time.time() + 60) == []


async def test_a_preview_has_the_length_of_a_vector_and_cuts_where_it_says_so(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, recent(1, answer="ä" * 200))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE chat_pairs SET embedding = array_fill(0.5, ARRAY[256])::vector")
    (shown,) = await preview(pool, "chat_pairs", 5, since=0.0)
    assert shown["embedding"] == 256
    assert shown["response"] == "ä" * 79 + "…"
    assert shown["model"] == "qwen3-8b-q4"
    assert shown["input_tokens"] == 12


async def test_a_schema_has_the_columns_in_their_order(pool: PostgresPool) -> None:
    columns = await schema_of(pool, "chat_history")
    assert [(c.name, c.type, c.nullable) for c in columns[:3]] == [
        ("trace_id", "text", False),
        ("seq", "integer", False),
        ("role", "text", False),
    ]
    assert ("detail", "jsonb", True) in [(c.name, c.type, c.nullable) for c in columns]
    assert await schema_of(pool, "no_such_table") == []
