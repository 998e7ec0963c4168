"""Score texts against a query in the inference role: what both rerankers share, and the fusion.

Texts go into the batcher's queue a few at a time, so that whoever waits for one vector does not
wait for a thousand documents.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from appliance.domain.errors import BackendBusy
from appliance.domain.rerank.bm25 import bm25
from appliance.domain.rerank.fusion import fused, to_unit
from appliance.infra.onnx.batching import Batcher
from appliance.infra.onnx.encoder import Direction
from appliance.infra.onnx.remembered import Read, Remembered, keys
from appliance.infra.onnx.spec import DIMENSIONS, MAX_INPUT_TOKENS, MODEL_ID

FUSION = f"bm25+{MODEL_ID}"
_TEXTS_AT_ONCE = 32
_BUSY_WAIT_S = 0.05
_REMEMBERED = 10_000  # as many texts as a call may have by any configuration: 13 MB
# Of a text that may be cut no more is tokenized than it takes: no token has so many characters.
_CHARS_PER_TOKEN = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranking:
    """For each text, in order: what the method computes, and the same between 0 and 1."""

    raw: list[float]
    scores: list[float]
    input_tokens: int


class FusionRanker:
    """BM25 over the given texts and the cosine of their vectors, half and half.  A text is embedded
    once, however often it is ranked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._lexical = asyncio.Lock()
        self._remembered = Remembered(_REMEMBERED)

    @property
    def model(self) -> str:
        """What it is: the lexical and the dense half."""
        return FUSION

    async def rank(
        self, query: str, texts: Sequence[str], *, truncate: bool, direction: Direction
    ) -> Ranking:
        """BM25 reads each text from its beginning, to its 50 000th character; the vector is of what
        the model reads of it.

        Raises ContextLengthExceeded for a text beyond that unless `truncate`, BackendBusy,
        PartUnavailable.
        """
        asked = await self._embedded([query], truncate, direction)
        found = [*asked]
        for some in portions(texts):
            found += await self._read(some, truncate, direction)
        rows = np.frombuffer(b"".join(read.row for read in found), "<f4").reshape(-1, DIMENSIONS)
        dense = (rows[1:] @ rows[0]).tolist()
        async with self._lexical:  # plain Python: two at once would only slow the loop down
            lexical = await asyncio.to_thread(bm25, query, texts)
        raw = fused(lexical, dense)
        tokens = sum(read.tokens for read in found)
        return Ranking(raw, [to_unit(value) for value in raw], tokens)

    async def _read(self, texts: Sequence[str], truncate: bool, direction: Direction) -> list[Read]:
        """Of each text, in order; only those that are not remembered go to the model."""
        wanted = keys(texts, truncate=truncate, direction=direction)
        known = {key: read for key in wanted if (read := self._remembered.get(key))}
        new = {key: text for key, text in zip(wanted, texts, strict=True) if key not in known}
        if new:
            embed = partial(self._embedded, list(new.values()), truncate, direction)
            for key, read in zip(new, await patiently(embed), strict=True):
                known[key] = read
                self._remembered.put(key, read)
        return [known[key] for key in wanted]

    async def _embedded(
        self, texts: Sequence[str], truncate: bool, direction: Direction
    ) -> list[Read]:
        shown = shortened(texts, direction, MAX_INPUT_TOKENS) if truncate else texts
        made = await self._batcher.embed(shown, truncate=truncate, direction=direction)
        size = len(made.data) // made.count
        return [
            Read(made.data[at * size : (at + 1) * size], tokens)
            for at, tokens in enumerate(made.tokens)
        ]


def portions(texts: Sequence[T]) -> Iterator[Sequence[T]]:
    """Runs of `texts` that the queue takes at once."""
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield texts[start : start + _TEXTS_AT_ONCE]


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is room in the queue: what has come so far would be lost.  Only for what has
    a limit of time around it."""
    while True:
        try:
            return await ask()
        except BackendBusy:
            await asyncio.sleep(_BUSY_WAIT_S)


def shortened(texts: Sequence[str], direction: Direction, tokens: int) -> list[str]:
    """The beginning of each, or its end, that surely holds `tokens`."""
    most = tokens * _CHARS_PER_TOKEN
    return [text[:most] if direction == "right" else text[-most:] for text in texts]
