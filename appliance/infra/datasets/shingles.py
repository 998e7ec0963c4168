"""How alike two texts are: the Jaccard similarity of their shingles, three words in a row each.

Shingles are 64-bit numbers, the same in every process and release.  Pure arithmetic.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
_WORDS = 3
# A word, or any other sign: code that differs in an operator differs.  Scripts that put no blanks
# between words have a word a character.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
_PLACES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd, one a place
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)


def shingles(texts: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Those of all `texts`, and those of the last one; sorted, each once.  None reaches from one
    text into the next."""
    found = [_of_one(text) for text in texts]
    return np.unique(np.concatenate(found)), np.unique(found[-1])


def jaccard(one: Numbers, other: Numbers) -> float:
    """What both have of what either has; 1.0 of two that have nothing."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - shared
    return shared / either if either else 1.0


class MinHashes:
    """`count` of the smallest numbers a set has under as many permutations: of two sets, the share
    of equal ones is about their Jaccard similarity."""

    def __init__(self, count: int) -> None:
        drawn = np.frombuffer(hashlib.shake_128(b"min-hash").digest(16 * count), "<u8")
        self._factors: Numbers = drawn[:count] | np.uint64(1)
        self._terms: Numbers = drawn[count:]

    def of(self, numbers: Numbers) -> npt.NDArray[np.uint32]:
        """One each; the largest there is of an empty set."""
        least = np.full(len(self._factors), np.iinfo(np.uint64).max, np.uint64)
        # In pieces: a text of 100 000 characters would take megabytes at once.
        for start in range(0, len(numbers), 1024):
            piece = numbers[start : start + 1024, None] * self._factors + self._terms
            least = np.minimum(least, piece.min(axis=0))
        return (least >> _HALF).astype(np.uint32)


def _of_one(text: str) -> Numbers:
    words = [_number(word) for word in _TOKEN.findall(text.casefold())]
    if not words:
        return np.empty(0, np.uint64)
    padded = np.array(words + [0] * max(0, _WORDS - len(words)), np.uint64)
    count = len(padded) - _WORDS + 1
    mixed = np.zeros(count, np.uint64)
    for place, factor in enumerate(_PLACES):
        mixed = (mixed ^ (padded[place : place + count] * np.uint64(factor))) * _MIX
        mixed ^= mixed >> _HALF
    return mixed


@lru_cache(maxsize=65_536)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
