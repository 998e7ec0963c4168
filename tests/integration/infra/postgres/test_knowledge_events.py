"""The view of all events of a chat: what is in it, and that it is found through indices."""

import psycopg
import pytest

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.exchange import Embedding, Exchange
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.fakes.kept_events import recent

PAGE = "SELECT * FROM knowledge_events ORDER BY created_at DESC LIMIT 50"


async def _write(pool: PostgresPool, *exchanges: Exchange) -> None:
    for subject in DURABLES:
        batch = deliveries(subject, *exchanges)
        assert not (await writer_for(subject, pool).write(batch)).rejected


async def test_every_event_of_a_chat_is_in_its_one_row(pool: PostgresPool, dsn: str) -> None:
    made = recent(1)
    await _write(pool, made, recent(2))
    ((prompt, events),) = rows(
        dsn, "SELECT prompt, events FROM knowledge_events WHERE trace_id = %s", made.trace_id
    )
    assert prompt.startswith("question 1")
    assert events["chat"]["request_model"] == made.request_model
    lists = {kind: told for kind, told in events.items() if kind != "chat"}
    assert set(lists) == {
        "embedding",
        "retrieve",
        "compose",
        "flow_lineage",
        "tool_call",
        "tool_result",
        "feedback",
    }
    assert {each["trace_id"] for told in lists.values() for each in told} == {made.trace_id}
    assert all(lists.values())
    assert lists["tool_result"][0]["content"] == "result 1"
    assert lists["feedback"][0]["comment"] == "comment 1"
    assert not {"id_key", "call_key"} & set(lists["tool_call"][0])


async def test_a_chat_alone_and_one_that_failed_are_rows_too(pool: PostgresPool, dsn: str) -> None:
    failed = recent(1, status="failed", http_status=502, answer="")
    await writer_for(PERSIST, pool).write(deliveries(PERSIST, failed))
    ((prompt, status, events),) = rows(dsn, "SELECT prompt, status, events FROM knowledge_events")
    assert (prompt, status) == (None, "failed")
    assert events["retrieve"] == events["tool_call"] == []


async def test_who_only_embeds_is_no_chat(pool: PostgresPool, dsn: str) -> None:
    made = Embedding("request", "minilm", ("a",))
    await _write(
        pool,
        recent(1, operation="embeddings", embedding=made, retrieval=None, tool_calls=()),
    )
    assert rows(dsn, "SELECT count(*) FROM embedding_events") == [(1,)]
    assert rows(dsn, "SELECT count(*) FROM knowledge_events") == [(0,)]


async def test_what_was_forgotten_or_comes_late_shows_at_once(pool: PostgresPool, dsn: str) -> None:
    gone, late = recent(1), recent(2)
    await _write(pool, gone)
    await writer_for(PERSIST, pool).write(deliveries(PERSIST, late))
    await forget(pool, gone.trace_id)
    await _write(pool, late)
    ((trace_id, compose),) = rows(
        dsn, "SELECT trace_id, jsonb_array_length(events->'compose') FROM knowledge_events"
    )
    assert (trace_id, compose) == (late.trace_id, 1)


@pytest.mark.parametrize(
    "query", [PAGE, "SELECT * FROM knowledge_events WHERE trace_id = '4711'"], ids=["page", "one"]
)
def test_no_table_of_events_is_read_whole(dsn: str, query: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in _LOAD:
            connection.execute(statement)
        connection.execute("ANALYZE")
        plan = connection.execute(f"EXPLAIN {query}".encode()).fetchall()
    assert "chat_history" in str(plan)
    for table in ("chat_history", "chat_pairs", "flow_lineage", "embedding_events"):
        assert f"Seq Scan on {table}" not in str(plan)


_MANY = "FROM generate_series(1, 5000) AS n"
_LOAD = (
    b"INSERT INTO chat_history SELECT n, s, 'user', '', '', '', '', '', n,"
    b" CASE WHEN s = 3 THEN '{}'::jsonb END, now() - make_interval(secs => n)"
    b" FROM generate_series(1, 5000) AS n, generate_series(0, 3) AS s",
    b"INSERT INTO chat_pairs (trace_id, correlation_id, conversation_id, prompt, response, model,"
    b" backend, route, project, stream_sequence, created_at)"
    b" SELECT n, '', '', '', '', '', '', '', '', n, now() " + _MANY.encode(),
    b"INSERT INTO flow_lineage SELECT n, 'request', 0, n, '', '', '', '', '{}', '', 0, 0, '{}', n,"
    b" now() " + _MANY.encode(),
    b"INSERT INTO embedding_events SELECT n, n, '', '', '', '', '', '', '', 1, 1, 1, '[]', '', '',"
    b" '', 0, '', '', n, now() " + _MANY.encode(),
)
