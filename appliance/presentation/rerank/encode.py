"""From scores to the answer of Cohere's v1 and v2 and of Jina; pure.

    {"id", "object", "model", "usage", "meta",
     "results": [{"index", "relevance_score", "document"?}]}

`usage` is Jina's, `meta` Cohere's; each reads its own and lets the other be.
"""

from typing import Any

import msgspec

from appliance.domain.rerank.service import Document, Reranked, RerankRequest


def encode(reranked: Reranked, request: RerankRequest, identifier: str, version: str) -> bytes:
    """The best `top_n`; `model` is what scored, whatever was asked for; `version` "1" or "2" is
    Cohere's of the path."""
    tokens = reranked.input_tokens
    results = []
    for hit in reranked.hits[: request.top_n]:
        row: dict[str, Any] = {"index": hit.index, "relevance_score": hit.score}
        if request.return_documents:
            row["document"] = _document(request.documents[hit.index])
        results.append(row)
    meta: dict[str, Any] = {"api_version": {"version": version}}
    if tokens is not None:
        meta["tokens"] = {"input_tokens": tokens}
    return msgspec.json.encode(
        {
            "id": identifier,
            "object": "list",
            "model": reranked.model,
            "results": results,
            "usage": {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0},
            "meta": meta,
        }
    )


def _document(document: Document) -> Any:
    """As it was sent, with the text that was scored where both wires look for it."""
    sent = document.sent
    return {"text": document.text, **sent} if isinstance(sent, dict) else {"text": document.text}
