"""MaxSim for callers: a ColBERT model's batches through the queue that embeddings wait in."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from appliance.domain.errors import ContextLengthExceeded
from appliance.infra.onnx.batching import Batcher, Lane, Observer
from appliance.infra.onnx.colbert.encoder import Colbert
from appliance.infra.onnx.colbert.maxsim import Matrix
from appliance.infra.onnx.encoder import Direction, Ids
from appliance.infra.onnx.ranking import Ranking, patiently, portions, shortened

# About one document: an embedding that comes meanwhile waits for one batch, and such a model takes
# ten times as long over a token as the embedding model.
_BATCH_TOKENS = 256


class MaxSimRanker:
    """The model's scores: a sum over the query's tokens, and its mean between 0 and 1."""

    def __init__(self, batcher: Batcher, model: Colbert, observer: Observer) -> None:
        self._batcher = batcher
        self._model = model
        self._observer = observer

    @property
    def model(self) -> str:
        """The name of the user's model."""
        return self._model.name

    async def rank(
        self, query: str, texts: Sequence[str], *, truncate: bool, direction: Direction
    ) -> Ranking:
        """Raises ContextLengthExceeded for a query or a text longer than the model reads unless
        `truncate`, BackendBusy, PartUnavailable."""
        asked = await asyncio.to_thread(self._query_ids, query, truncate)
        vectors = await self._query(asked)
        lane = self._lane(lambda batch: self._model.scores(vectors, batch)[:, None])
        tokens, raw = len(asked), []
        for some in portions(texts):
            ids = await asyncio.to_thread(self._document_ids, some, truncate, direction)
            tokens += sum(map(len, ids))
            rows = await patiently(partial(self._batcher.run, lane, ids))
            raw += rows[:, 0].tolist()
        return Ranking(raw, [(1 + value / len(vectors)) / 2 for value in raw], tokens)

    async def _query(self, ids: Ids) -> Matrix:
        """[tokens, dimensions]: a batch of one, in a turn of its own."""
        found: list[Matrix] = []

        def encode(batch: Sequence[Ids]) -> NDArray[np.float32]:
            found.append(self._model.query_vectors(batch[0]))
            return np.zeros((1, 1), np.float32)

        await self._batcher.run(self._lane(encode), [ids])
        return found[0]

    def _query_ids(self, query: str, truncate: bool) -> Ids:
        most = self._model.folder.query_length
        (shown,) = shortened([query], "right", most) if truncate else [query]
        ids = self._model.query_ids(shown)
        _require(truncate, "query", len(ids), most)
        return self._model.cut_query(ids)

    def _document_ids(
        self, texts: Sequence[str], truncate: bool, direction: Direction
    ) -> list[Ids]:
        most = self._model.folder.document_length
        shown = shortened(texts, direction, most) if truncate else texts
        found = self._model.document_ids(shown)
        _require(truncate, "texts", max(map(len, found)), most)
        return [self._model.cut_document(ids, direction) for ids in found]

    def _lane(self, encode: Callable[[Sequence[Ids]], NDArray[np.float32]]) -> Lane:
        return Lane(encode, 1, _BATCH_TOKENS, self._observer)


def _require(truncate: bool, what: str, tokens: int, most: int) -> None:
    if tokens > most and not truncate:
        raise ContextLengthExceeded(
            f"`{what}` must have less than {most} tokens. Given: {tokens}", param=what
        )
