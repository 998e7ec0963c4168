"""Events of a call to an embedding model: a caller's own, or the one behind a retrieval.

A query that could not be embedded has none: its retrieval says so (`degraded`).
"""

from typing import Any

from appliance.domain.events.exchange import Embedding, Exchange

EMBEDDING = "pipeline.knowledge.embedding"
TELEMETRY = "telemetry.knowledge.embedding"


class EmbeddingMade:
    """What was embedded, by which model.  Vectors are not in it: the model makes them again."""

    schema = "knowledge.embedding/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that embedded something."""
        if (embedding := embedding_of(exchange)) is None:
            return ()
        payload = _measures(exchange, embedding)
        payload["key_name"] = exchange.key_name
        payload["texts"] = embedding.texts
        payload["error.message"] = exchange.error_message if embedding is exchange.embedding else ""
        return (payload,)


class EmbeddingTelemetry:
    """Counts, durations and names."""

    schema = "knowledge.embedding.telemetry/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that embedded something."""
        embedding = embedding_of(exchange)
        return () if embedding is None else (_measures(exchange, embedding),)


def embedding_of(exchange: Exchange) -> Embedding | None:
    """Its own, else the one of its query."""
    if exchange.embedding is not None or exchange.retrieval is None:
        return exchange.embedding
    return exchange.retrieval.embedding


def _measures(exchange: Exchange, embedding: Embedding) -> dict[str, Any]:
    own = embedding is exchange.embedding
    return {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": exchange.provider if own else "inference",
        "gen_ai.request.model": exchange.request_model if own else embedding.model,
        "gen_ai.response.model": embedding.model,
        "gen_ai.usage.input_tokens": embedding.input_tokens,
        "purpose": embedding.purpose,
        "status": exchange.status if own else "finished",
        "http_status": exchange.http_status if own else 200,
        "backend": exchange.backend if own else "inference",
        "dimensions": embedding.dimensions,
        "input_count": len(embedding.texts),
        "project": exchange.project,
        "began_s": embedding.began_s,
        "duration_s": embedding.duration_s,
        "error.type": exchange.error_type if own else "",
    }
