"""Lexical and dense scores as one: the mean of their z-scores over the texts of a call.  Pure.

This is no cross-encoder: nothing here reads query and text together.  What it gives says how a
text compares with the others of the same call, and nothing about any other call.
"""

import math
from collections.abc import Sequence


def fused(lexical: Sequence[float], dense: Sequence[float]) -> list[float]:
    """Half and half, in order; around 0, rarely beyond 3 either way."""
    pairs = zip(z_scores(lexical), z_scores(dense), strict=True)
    return [0.5 * left + 0.5 * right for left, right in pairs]


def z_scores(values: Sequence[float]) -> list[float]:
    """How many standard deviations each is above the mean; all 0 where all are the same."""
    if not values:
        return []
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / len(values))
    if deviation < 1e-9:
        return [0.0] * len(values)
    return [(x - mean) / deviation for x in values]


def to_unit(value: float) -> float:
    """A fused score between 0 and 1, in the same order: the logistic function."""
    return 1 / (1 + math.exp(-value))
