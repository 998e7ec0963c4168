"""Events of a retrieval: what was looked up, what was found, by which thresholds."""

from typing import Any

from appliance.domain.events.exchange import Exchange, Retrieval

RETRIEVE = "pipeline.knowledge.retrieve"
TELEMETRY = "telemetry.knowledge.retrieve"


class Retrieve:
    """The query and everything the search found, injected or not, best first: at most twice the
    `limit`, which is what it asks the store for."""

    schema = "knowledge.retrieve/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that looked knowledge up."""
        retrieval = exchange.retrieval
        if retrieval is None:
            return ()
        payload = _measures(exchange, retrieval)
        payload["key_name"] = exchange.key_name
        payload["query"] = retrieval.query
        payload["hits"] = found(retrieval)
        return (payload,)


class RetrieveTelemetry:
    """Counts, scores and durations; neither query nor names of documents."""

    schema = "knowledge.retrieve.telemetry/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that looked knowledge up."""
        return () if exchange.retrieval is None else (_measures(exchange, exchange.retrieval),)


def found(retrieval: Retrieval) -> list[dict[str, Any]]:
    """Injected hits and cut ones as one list, best first; `cut` is "" for those injected."""
    rows = [
        {
            "document": hit.document,
            "chunk": hit.chunk,
            "score": hit.score,
            "tokens": hit.tokens,
            "cut": "",
        }
        for hit in retrieval.hits
    ]
    rows += [
        {
            "document": cut.document,
            "chunk": cut.chunk,
            "score": cut.score,
            "tokens": cut.tokens,
            "cut": cut.reason,
        }
        for cut in retrieval.cut
    ]
    return sorted(rows, key=lambda row: -row["score"])


def _measures(exchange: Exchange, retrieval: Retrieval) -> dict[str, Any]:
    scores = [hit.score for hit in retrieval.hits] + [cut.score for cut in retrieval.cut]
    embedding = retrieval.embedding
    return {
        "workspace": retrieval.workspace,
        "model": embedding.model if embedding is not None else "",
        "found_count": len(scores),
        "hit_count": len(retrieval.hits),
        "best_score": max(scores, default=None),
        "min_score": retrieval.min_score,
        "limit": retrieval.limit,
        "room_tokens": retrieval.room_tokens,
        "degraded": retrieval.degraded,
        "project": exchange.project,
        "began_s": retrieval.began_s,
        "duration_s": retrieval.duration_s,
    }
