"""Events of a retrieval: what was looked up, what was found, by which thresholds.

A rerank is one too: documents that the caller brought, put in order by a query.  `kind` tells the
two apart: search | rerank.
"""

from typing import Any

from appliance.domain.events.exchange import Exchange, Rerank, Retrieval

RETRIEVE = "pipeline.knowledge.retrieve"
TELEMETRY = "telemetry.knowledge.retrieve"


class Retrieve:
    """The query and everything the search found, injected or not, best first: at most twice the
    `limit`, which is what it asks the store for.  Of a rerank every score."""

    schema = "knowledge.retrieve/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that looked knowledge up, one for one that reranked; none for
        a rerank without an answer, which has no scores."""
        payloads = []
        if (retrieval := exchange.retrieval) is not None:
            payload = _measures(exchange, retrieval)
            payload["key_name"] = exchange.key_name
            payload["query"] = retrieval.query
            payload["hits"] = found(retrieval)
            payloads.append(payload)
        if (rerank := exchange.rerank) is not None and rerank.scores:
            payload = _rerank_measures(exchange, rerank)
            payload["key_name"] = exchange.key_name
            payload["query"] = rerank.query
            payload["scores"] = rerank.scores
            payloads.append(payload)
        return tuple(payloads)


class RetrieveTelemetry:
    """Counts, scores and durations; neither query nor names of documents."""

    schema = "knowledge.retrieve.telemetry/1"

    @staticmethod
    def payloads(exchange: Exchange) -> tuple[dict[str, Any], ...]:
        """One payload for an exchange that looked knowledge up, one for one that reranked, also in
        vain."""
        payloads = []
        if exchange.retrieval is not None:
            payloads.append(_measures(exchange, exchange.retrieval))
        if exchange.rerank is not None:
            payloads.append(_rerank_measures(exchange, exchange.rerank))
        return tuple(payloads)


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
        "kind": "search",
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


def _rerank_measures(exchange: Exchange, rerank: Rerank) -> dict[str, Any]:
    return {
        "kind": "rerank",
        "gen_ai.request.model": exchange.request_model,
        "gen_ai.usage.input_tokens": rerank.input_tokens,
        "model": rerank.model,
        "status": exchange.status,
        "document_count": rerank.documents,
        "top_n": rerank.top_n,
        "best_score": rerank.scores[0].score if rerank.scores else None,
        "project": exchange.project,
        "duration_s": rerank.duration_s,
        "error.type": exchange.error_type,
    }
