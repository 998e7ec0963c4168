"""Loading is not proof: texts and the vectors they must come out as, to be checked before a model
serves.

The stored vectors are an independent computation in float64 (tests/unit/infra/onnx/reference.py),
made by `python -m tests.bench.embedding_data probe`; nothing that runs here took part in it.
"""

import json
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_SHORT_TOKENS = 64
_DATA = Path(__file__).with_name("data")
FILES = (_DATA / "probe.json", _DATA / "probe.npy")


class Pooling(Protocol):
    """A loaded encoder, as the probe needs it."""

    def tokenize(self, texts: list[str]) -> list[list[int]]: ...

    def pooled(self, batch: list[list[int]]) -> NDArray[np.float32]: ...


def texts() -> list[str]:
    """Of several lengths and kinds: words, prose, code, numbers, other alphabets, more than the
    model reads."""
    found: list[str] = json.loads(FILES[0].read_text(encoding="utf-8"))
    return found


def expected() -> NDArray[np.float32]:
    """[texts, 384], unit length, in the order of `texts()`."""
    rows: NDArray[np.float32] = np.load(FILES[1]).astype(np.float32)
    return rows


def cosine(encoder: Pooling) -> float:
    """The least cosine of all texts, each embedded alone, and the short ones again in one padded
    batch (small: a batch's memory is the role's peak); NaN counts as -1."""
    tokens, wanted = encoder.tokenize(texts()), expected()
    least = [_cosine(encoder.pooled([ids]), wanted[[row]]) for row, ids in enumerate(tokens)]
    short = [row for row, ids in enumerate(tokens) if len(ids) <= _SHORT_TOKENS]
    least.append(_cosine(encoder.pooled([tokens[row] for row in short]), wanted[short]))
    return min(least)


def _cosine(rows: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    if rows.shape != wanted.shape or not np.isfinite(rows).all():
        return -1.0
    lengths = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(np.float32).tiny)
    return float(np.min(np.sum(rows * wanted, axis=1) / lengths))
