"""Rows of the subjects that have one an event: embedding, retrieve, compose."""

from typing import Any

from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.exchange import Embedding, Exchange, Retrieval
from appliance.domain.events.privacy import withheld
from appliance.domain.events.retrieve import RETRIEVE
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.integration.infra.postgres.writers.exchanges import whole

MADE = Embedding("request", "minilm", ("one", "two"), 256, 4, 0.125, 0.5)


async def _row(
    dsn: str, pool: PostgresPool, subject: str, table: str, exchange: Exchange
) -> dict[str, Any]:
    """The only one, by column; times as text."""
    assert not (await writer_for(subject, pool).write(deliveries(subject, exchange))).rejected
    ((row,),) = rows(dsn, f"SELECT to_jsonb(t) FROM {table} t")
    return dict(row)


def _common(exchange: Exchange, subject: str) -> dict[str, Any]:
    return {
        "event_id": f"{exchange.trace_id}:{subject}",
        "trace_id": exchange.trace_id,
        "correlation_id": exchange.correlation_id,
        "conversation_id": exchange.conversation_id,
        "project": "atlas",
        "key_name": "ada",
        "stream_sequence": 1,
    }


async def test_an_embedding_event_is_a_row(dsn: str, pool: PostgresPool) -> None:
    asked = whole(
        1,
        operation="embeddings",
        retrieval=None,
        embedding=MADE,
        project="atlas",
        key_name="ada",
        status="failed",
        http_status=502,
        error_type="BackendTimeout",
        error_message="too slow",
    )
    row = await _row(dsn, pool, EMBEDDING, "embedding_events", asked)
    assert row.pop("created_at").startswith("2026-11-18T")
    assert row == _common(asked, EMBEDDING) | {
        "purpose": "request",
        "request_model": "qwen3-8b",
        "model": "minilm",
        "provider": "openai_chat",
        "backend": "local",
        "dimensions": 256,
        "input_count": 2,
        "input_tokens": 4,
        "texts": ["one", "two"],
        "status": "failed",
        "error_type": "BackendTimeout",
        "error_message": "too slow",
        "duration_s": 0.5,
    }


async def test_what_nobody_told_of_an_embedding_is_null(dsn: str, pool: PostgresPool) -> None:
    untold = whole(1, operation="embeddings", embedding=Embedding("request", "m", ("a",)))
    row = await _row(dsn, pool, EMBEDDING, "embedding_events", withheld(untold, "metadata"))
    assert (row["dimensions"], row["input_tokens"], row["texts"]) == (None, None, [""])


async def test_a_retrieval_is_a_row_with_all_that_was_found(dsn: str, pool: PostgresPool) -> None:
    asked = whole(1, project="atlas", key_name="ada")
    row = await _row(dsn, pool, RETRIEVE, "retrieve_events", asked)
    assert row.pop("created_at").startswith("2026-11-18T")
    hits = row.pop("hits")
    assert [(hit["document"], hit["cut"]) for hit in hits] == [
        ("a.md", ""),
        ("old.md", "room"),
        ("b.md", ""),
        ("far.md", "score"),
    ]
    assert row == _common(asked, RETRIEVE) | {
        "workspace": "handbook",
        "query": "what is a?",
        "model": "minilm",
        "found_count": 4,
        "hit_count": 2,
        "best_score": 0.75,
        "min_score": 0.25,
        "hit_limit": 4,
        "degraded": "",
        "duration_s": 0.25,
    }


async def test_a_retrieval_that_did_not_get_far_is_a_row_too(dsn: str, pool: PostgresPool) -> None:
    asked = whole(1, retrieval=Retrieval("handbook", degraded="inference"))
    row = await _row(dsn, pool, RETRIEVE, "retrieve_events", asked)
    found = (row["degraded"], row["model"], row["best_score"], row["hits"])
    assert found == ("inference", "", None, [])


async def test_a_composition_is_a_row_with_what_was_injected_and_cut(
    dsn: str, pool: PostgresPool
) -> None:
    asked = whole(1, project="atlas", key_name="ada", dropped=("top_k",))
    row = await _row(dsn, pool, COMPOSE, "compose_events", asked)
    assert row.pop("created_at").startswith("2026-11-18T")
    assert [hit["document"] for hit in row.pop("injected")] == ["a.md", "b.md"]
    assert [(cut["document"], cut["reason"]) for cut in row.pop("cut")] == [
        ("old.md", "room"),
        ("far.md", "score"),
    ]
    assert row == _common(asked, COMPOSE) | {
        "workspace": "handbook",
        "context_window": 4096,
        "room_tokens": 1000,
        "used_tokens": 60,
        "messages_before": 2,
        "messages_after": 4,
        "dropped": ["top_k"],
        "degraded": "",
    }
