"""Put documents in the order in which they answer a query.  Called by `record.py`.

MaxSim of the ColBERT model that the inference role was given, else the fusion of words and
vectors.  The answer names which of them it was.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import InvalidRequest, ModelNotFound, PartUnavailable
from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Reranker, RerankRole

AUTO = ("", "auto")
_COLBERT = "colbert"
# What clients of Cohere and Jina ask for; nobody here has those models.
_FOREIGN = ("rerank-", "jina-reranker-", "jina-colbert-")


@dataclass(frozen=True, slots=True)
class Document:
    """`text` is what is scored; `sent` the document as the caller sent it; `name` what the caller
    calls it, "" for most."""

    text: str
    sent: Any
    name: str = ""


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """`top_n` None: all of them; `dropped` are fields that change nothing here."""

    model: str
    query: str
    documents: tuple[Document, ...]
    top_n: int | None = None
    return_documents: bool = False
    dropped: tuple[str, ...] = ()
    extensions: Extensions = field(default_factory=Extensions)


@dataclass(frozen=True, slots=True)
class Hit:
    """Document `index`, counted from 0 as sent, and its score between 0 and 1."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Reranked:
    """Every document once, best first, equals in the order they were sent; `model` scored them."""

    model: str
    hits: tuple[Hit, ...]
    input_tokens: int | None


class RerankService:
    """At most `max_documents` a call, answered within `timeout_s`."""

    def __init__(self, role: RerankRole, *, max_documents: int, timeout_s: float) -> None:
        self._role = role
        self._max_documents = max_documents
        self._timeout_s = timeout_s

    async def rerank(self, request: RerankRequest, identity: Identity | None = None) -> Reranked:
        """Raises InvalidRequest, RequestTooLarge, ModelNotFound, PartUnavailable."""
        if len(request.documents) > self._max_documents:
            raise InvalidRequest(
                f"documents holds {len(request.documents)}, and {self._max_documents} are the limit"
                " ([rerank] max_documents)",
                param="documents",
            )
        texts = [document.text for document in request.documents]
        try:
            async with asyncio.timeout(self._timeout_s):
                reranker = chosen(request.model, await self._role.rerankers())
                scores = await self._role.score(reranker, request.query, texts, identity)
        except TimeoutError:
            raise PartUnavailable(
                f"the inference role did not rerank {len(texts)} documents within"
                f" {self._timeout_s:g} s ([rerank] timeout_s): send fewer at once",
                part="inference",
            ) from None
        hits = [Hit(index, score) for index, score in enumerate(scores.values)]
        ordered = tuple(sorted(hits, key=lambda hit: -hit.score))
        return Reranked(reranker.model, ordered, scores.input_tokens)


def chosen(model: str, rerankers: Sequence[Reranker]) -> Reranker:
    """The one that `model` means.  Raises ModelNotFound with the names there are."""
    name = model.strip().lower()
    if name in AUTO or name.startswith(_FOREIGN):
        return rerankers[0]
    for reranker in rerankers:
        same = name == reranker.model.lower()
        if same or (reranker.kind == "maxsim" and name.startswith(_COLBERT)):
            return reranker
    known = ", ".join(reranker.model for reranker in rerankers)
    raise ModelNotFound(
        f"there is no reranker {model!r}: the inference role has {known}", param="model"
    )
