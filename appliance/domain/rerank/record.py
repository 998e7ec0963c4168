"""Reranking for callers, each call with its record."""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256

from appliance.domain.chat.turn import Caller
from appliance.domain.events.exchange import Exchange, Rerank, Scored
from appliance.domain.events.recorder import Call, Recorder, answered
from appliance.domain.rerank.service import (
    Document,
    Hit,
    Reranked,
    RerankRequest,
    RerankService,
)

OPERATION = "rerank"
_ROLE = "inference"


class RecordedReranks:
    """A RerankService whose every call is recorded before its answer leaves."""

    def __init__(self, service: RerankService, recorder: Recorder) -> None:
        self._service = service
        self._recorder = recorder

    async def rerank(self, request: RerankRequest, caller: Caller) -> Reranked:
        """Raises what RerankService.rerank and Recorder.run raise."""
        return await self._recorder.run(
            Call(OPERATION, request.model, caller, request.extensions),
            partial(self._service.rerank, request, caller.identity),
            partial(_describe, request),
        )


def _describe(request: RerankRequest, exchange: Exchange, made: Reranked | None) -> None:
    if made is not None:
        answered(exchange, made.model, _ROLE, _ROLE, made.input_tokens)
    exchange.rerank = Rerank(
        exchange.selected_model,
        query=request.query,
        documents=len(request.documents),
        top_n=request.top_n,
        scores=_scores(request.documents, made.hits) if made is not None else (),
        input_tokens=exchange.input_tokens,
        duration_s=exchange.duration_s,
    )


def _scores(documents: Sequence[Document], hits: Sequence[Hit]) -> tuple[Scored, ...]:
    """Every score, best first: also of those that `top_n` leaves out of the answer."""
    return tuple(
        Scored(hit.index, hit.score, digest(documents[hit.index].text), documents[hit.index].name)
        for hit in hits
    )


def digest(text: str) -> str:
    """By which the same text is known again: sha256 of its UTF-8, in hexadecimal digits."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
