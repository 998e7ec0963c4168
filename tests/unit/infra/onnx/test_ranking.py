"""The fusion asks the model for as little as it can, and scores as if it had asked for all."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.domain.errors import ContextLengthExceeded, PartUnavailable
from appliance.infra.onnx.batching import Batcher
from appliance.infra.onnx.ranking import FusionRanker, Ranking
from appliance.infra.onnx.spec import DIMENSIONS, MAX_INPUT_TOKENS

TEXTS = ["the sea is blue", "a bicycle in a shed", "taxes", "the sea is blue"]


class Letters:
    """A model whose tokens are letters and whose vectors count them; `read` is what came, text by
    text, at most `lasts` of them."""

    def __init__(self, lasts: int = 1000) -> None:
        self.read: list[str] = []
        self.lasts = lasts

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(letter) % DIMENSIONS for letter in text] for text in texts]

    def encode(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        if len(self.read) >= self.lasts:
            raise PartUnavailable("worn out", part="inference")
        self.read += ["".join(map(chr, ids)) for ids in batch]
        return np.stack([np.bincount(ids, minlength=DIMENSIONS) for ids in batch]).astype("f4")


class Unseen:
    def batch(self, texts: int, tokens: int, padded_tokens: int, seconds: float) -> None: ...


def batcher(model: Letters) -> Batcher:
    return Batcher(lambda: model, Unseen(), max_batch_tokens=512, max_queue=100)


async def rank(ranker: FusionRanker, query: str, texts: Sequence[str]) -> Ranking:
    return await ranker.rank(query, texts, truncate=True, direction="right")


async def test_a_text_is_embedded_once_however_often_it_is_ranked() -> None:
    model = Letters()
    async with (queue := batcher(model)).running():
        ranker = FusionRanker(queue)
        await rank(ranker, "where", TEXTS)
        assert sorted(model.read) == sorted([*set(TEXTS), "where"])
        model.read.clear()
        await rank(ranker, "what", [*reversed(TEXTS), "new"])
        assert sorted(model.read) == ["new", "what"]


async def test_texts_that_are_known_score_and_count_as_those_that_are_new() -> None:
    async with (queue := batcher(Letters())).running():
        ranker = FusionRanker(queue)
        await rank(ranker, "blue", TEXTS[:2])
        mixed = await rank(ranker, "the shed", TEXTS)
        assert mixed == await rank(FusionRanker(queue), "the shed", TEXTS)
        assert mixed.input_tokens == sum(map(len, [*TEXTS, "the shed"]))
        assert mixed.raw[0] == mixed.raw[3]


async def test_a_call_that_is_made_again_goes_on_where_it_ended() -> None:
    texts, model = [f"text {number}" for number in range(80)], Letters(lasts=50)
    async with (queue := batcher(model)).running():
        ranker = FusionRanker(queue)
        with pytest.raises(PartUnavailable):
            await rank(ranker, "where", texts)
        model.read, model.lasts = [], 1000
        await rank(ranker, "where", texts)
        assert 1 < len(model.read) < 60


async def test_a_text_that_was_cut_is_too_long_where_it_must_not_be() -> None:
    long = "a" * (MAX_INPUT_TOKENS + 1)
    async with (queue := batcher(Letters())).running():
        ranker = FusionRanker(queue)
        await rank(ranker, "a", [long])
        with pytest.raises(ContextLengthExceeded):
            await ranker.rank("a", [long], truncate=False, direction="right")
