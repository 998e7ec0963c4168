"""An embedder without a model: texts that share words are near each other."""

import asyncio
import hashlib
import math
from collections.abc import Sequence

from appliance.domain.embeddings.ports import Embedded
from appliance.domain.errors import PartUnavailable
from appliance.domain.identity import Identity


class WordEmbedder:
    """Counts words into 256 buckets.  `delay_s` before an answer; `down` makes it unreachable."""

    def __init__(self, model: str = "words", *, delay_s: float = 0.0) -> None:
        self.model = model
        self.delay_s = delay_s
        self.down = False
        self.texts: list[str] = []
        self.in_flight = self.most_in_flight = 0

    async def embed(
        self, texts: Sequence[str], *, truncate: bool = True, identity: Identity | None = None
    ) -> Embedded:
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.in_flight -= 1
        if self.down:
            raise PartUnavailable("inference: connection refused", part="inference")
        self.texts += texts
        return Embedded([_vector(text) for text in texts], self.model, sum(map(len, texts)))


def _vector(text: str) -> list[float]:
    counts = [0.0] * 256
    for word in text.lower().split():
        counts[hashlib.sha256(word.strip(".,:!?").encode()).digest()[0]] += 1.0
    length = math.sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]
