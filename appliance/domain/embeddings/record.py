"""Embeddings for callers, each call with its record."""

from functools import partial

from appliance.domain.chat.turn import Caller
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.embeddings.service import EmbeddingRequest, EmbeddingService
from appliance.domain.events.exchange import Embedding, Exchange
from appliance.domain.events.recorder import Call, Recorder, answered

OPERATION = "embeddings"


class RecordedEmbeddings:
    """An EmbeddingService whose every call is recorded before its answer leaves."""

    def __init__(self, service: EmbeddingService, recorder: Recorder) -> None:
        self._service = service
        self._recorder = recorder

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> Embedded:
        """Raises what EmbeddingService.embed and Recorder.run raise."""
        return await self._recorder.run(
            Call(OPERATION, request.model, caller, request.extensions),
            partial(self._service.embed, request, caller.identity),
            partial(_describe, request),
        )


def _describe(request: EmbeddingRequest, exchange: Exchange, made: Embedded | None) -> None:
    dimensions = request.dimensions
    if made is not None:
        answered(exchange, made.model, made.backend, made.provider, made.input_tokens)
        dimensions = len(made.vectors[0])
    exchange.params = request.params
    exchange.embedding = Embedding(
        "request",
        exchange.selected_model,
        request.texts,
        dimensions=dimensions,
        input_tokens=exchange.input_tokens,
        duration_s=exchange.duration_s,
    )
