"""`pipeline.knowledge.retrieve` into retrieve_events, and of reranks into rerank_scores."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Literal

import msgspec

from appliance.domain.events.delivery import Delivery
from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import EventTable, Row, Table

RETRIEVALS = EventTable(
    "retrieve_events",
    {
        "workspace": "text",
        "query": "text",
        "model": "text",
        "hits": "json",
        "found_count": "int",
        "hit_count": "int",
        "best_score": "float8",
        "min_score": "float8",
        "hit_limit": "int",
        "degraded": "text",
        "duration_s": "float8",
        "project": "text",
        "key_name": "text",
    },
)
SCORES = Table(
    "rerank_scores",
    {
        "event_id": "text",
        "document_index": "int",
        "trace_id": "text",
        "correlation_id": "text",
        "conversation_id": "text",
        "request_model": "text",
        "model": "text",
        "query": "text",
        "query_hash": "text",
        "document_hash": "text",
        "document_name": "text",
        "score": "float8",
        "rank": "int",
        "document_count": "int",
        "top_n": "int",
        "project": "text",
        "key_name": "text",
        "stream_sequence": "bigint",
        "created_at": "timestamptz",
    },
)
# A row a document repeats the query: of one of megabytes a thousand rows would be gigabytes.
MAX_QUERY_CHARS = 2000


class Scored(msgspec.Struct):
    """One of `scores`, as domain.events.exchange.Scored."""

    index: int
    score: float
    digest: str = ""
    name: str = ""


class SearchEvent(Envelope, kw_only=True):
    """As domain.events.retrieve.Retrieve makes it of a search."""

    workspace: str
    query: str
    model: str
    hits: list[dict[str, Any]]
    found_count: int
    hit_count: int
    best_score: float | None
    min_score: float
    hit_limit: int = msgspec.field(name="limit")
    degraded: str
    duration_s: float | None
    project: str
    key_name: str


class RerankEvent(Envelope, kw_only=True):
    """As domain.events.retrieve.Retrieve makes it of a rerank."""

    request_model: str = msgspec.field(name="gen_ai.request.model")
    query: str
    model: str
    document_count: int
    top_n: int | None
    scores: list[Scored]
    project: str
    key_name: str


class _Kind(msgspec.Struct):
    kind: Literal["search", "rerank"] = "search"  # older gateways do not send it


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_search = msgspec.json.Decoder(SearchEvent).decode
_decode_rerank = msgspec.json.Decoder(RerankEvent).decode


class RetrieveWriter(EventWriter[SearchEvent | RerankEvent]):
    """A row a search, a row a score of a rerank."""

    def decode(self, data: bytes) -> SearchEvent | RerankEvent:
        """See EventWriter.decode."""
        is_search = _decode_kind(data).kind == "search"
        return _decode_search(data) if is_search else _decode_rerank(data)

    def rows(self, events: Events[SearchEvent | RerankEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        searches = [(each, event) for each, event in events if isinstance(event, SearchEvent)]
        scores = [
            row
            for delivery, event in events
            if isinstance(event, RerankEvent)
            for row in _scores(delivery, event)
        ]
        return [(RETRIEVALS, RETRIEVALS.rows(searches)), (SCORES, sorted(scores, key=_key))]


def _scores(delivery: Delivery, event: RerankEvent) -> Iterator[Row]:
    query_hash = sha256(event.query.encode()).hexdigest() if event.query else ""
    for rank, scored in enumerate(event.scores, 1):
        yield (
            event.event_id,
            scored.index,
            *event.ids,
            event.request_model,
            event.model,
            event.query[:MAX_QUERY_CHARS],
            query_hash,
            scored.digest,
            scored.name,
            scored.score,
            rank,
            event.document_count,
            event.top_n,
            event.project,
            event.key_name,
            delivery.sequence,
            event.created_at,
        )


def _key(row: Row) -> tuple[str, int]:
    return row[0], row[1]
