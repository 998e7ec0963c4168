"""Rows of a rerank: query × document × model."""

from dataclasses import replace
from hashlib import sha256

import msgspec

from appliance.domain.events.privacy import withheld
from appliance.domain.events.retrieve import RETRIEVE
from appliance.infra.postgres.history import History
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import changed, deliveries, rows
from tests.fakes.exchanges import exchange
from tests.fakes.flows import reranked

QUERY = "how do I bleed the brakes?"


async def test_every_score_is_a_row(dsn: str, pool: PostgresPool) -> None:
    made = reranked(exchange(1), project="atlas", key_name="ada")
    assert not (await writer_for(RETRIEVE, pool).write(deliveries(RETRIEVE, made))).rejected
    found = [
        dict(row) for (row,) in rows(dsn, "SELECT to_jsonb(t) FROM rerank_scores t ORDER BY rank")
    ]
    assert [row.pop("created_at")[:10] for row in found] == ["2026-11-18"] * 3
    own = [
        {name: row.pop(name) for name in ("document_index", "document_hash", "document_name")}
        | {"score": row.pop("score"), "rank": row.pop("rank")}
        for row in found
    ]
    assert [tuple(row.values()) for row in own] == [
        (2, "c" * 64, "manual.md", 0.75, 1),
        (0, "a" * 64, "", 0.5, 2),
        (1, "b" * 64, "", 0.25, 3),
    ]
    assert found[0] == found[1] == found[2]
    assert found[0] == {
        "event_id": f"{made.trace_id}:{RETRIEVE}",
        "trace_id": made.trace_id,
        "correlation_id": made.correlation_id,
        "conversation_id": made.conversation_id,
        "request_model": "rerank-v3.5",
        "model": "bm25+all-minilm-l6-v2",
        "query": QUERY,
        "query_hash": sha256(QUERY.encode()).hexdigest(),
        "document_count": 3,
        "top_n": 2,
        "project": "atlas",
        "key_name": "ada",
        "stream_sequence": 1,
    }
    assert rows(dsn, "SELECT count(*) FROM retrieve_events") == [(0,)]


async def test_a_long_query_is_kept_in_part_and_known_by_all_of_it(
    dsn: str, pool: PostgresPool
) -> None:
    made = reranked(exchange(1))
    assert made.rerank is not None
    query = "ä" * 5_000_000
    made.rerank = replace(made.rerank, query=query)
    await writer_for(RETRIEVE, pool).write(deliveries(RETRIEVE, made))
    told = "SELECT DISTINCT query, query_hash FROM rerank_scores"
    assert rows(dsn, told) == [("ä" * 2000, sha256(query.encode()).hexdigest())]


async def test_metadata_are_scores_by_place_alone(dsn: str, pool: PostgresPool) -> None:
    made = withheld(reranked(exchange(1)), "metadata")
    await writer_for(RETRIEVE, pool).write(deliveries(RETRIEVE, made))
    told = "SELECT query, query_hash, document_hash, document_name FROM rerank_scores"
    assert rows(dsn, told) == [("", "", "", "")] * 3


async def test_a_search_of_an_older_gateway_is_one_still(dsn: str, pool: PostgresPool) -> None:
    (delivery,) = deliveries(RETRIEVE, exchange(1))
    written = await writer_for(RETRIEVE, pool).write([changed(delivery, without=["kind"])])
    assert written.inserted == {"retrieve_events": 1}


async def test_a_kind_nobody_knows_is_set_aside(pool: PostgresPool) -> None:
    (delivery,) = deliveries(RETRIEVE, exchange(1))
    written = await writer_for(RETRIEVE, pool).write([changed(delivery, kind="guess")])
    assert [rejected.final for rejected in written.rejected] == [True]


async def test_the_rows_are_told_as_one_event(pool: PostgresPool) -> None:
    made = reranked(exchange(1))
    await writer_for(RETRIEVE, pool).write(deliveries(RETRIEVE, made))
    (event,) = await History(pool).events([made.trace_id])
    assert (event.subject, dict(event.rows)) == (RETRIEVE, {"rerank_scores": 3})
    assert [scored["index"] for scored in event.facts["scores"]] == [2, 0, 1]
    assert (event.facts["kind"], event.facts["query"]) == ("rerank", QUERY)
    assert msgspec.json.encode(event.facts)
