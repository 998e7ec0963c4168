"""Which pairs stay where several are the same, or nearly.  Called by export.py.

The better rated stays, then the older one.  Pairs are looked at in that order, whatever the order
they were read in, and one goes where it is a duplicate of one that stays.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.domain.datasets.rules import EXACT, NEAR

_MOST_KEPT = 64  # of those with one key: a pair is compared with no more
_MOST_COMPARED = 64
Indices = npt.NDArray[np.int64]
Alike = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Features:
    """Of every pair: its rating (0 where nobody rated), when it was made, 64 bits that name it, 128
    of its identity, and its keys (see bands.py)."""

    ratings: npt.NDArray[np.int8]
    created: npt.NDArray[np.float64]
    names: npt.NDArray[Any]
    digests: npt.NDArray[Any]
    keys: npt.NDArray[np.uint32]


def duplicates(features: Features, alike: Alike) -> dict[int, str]:
    """Number of a pair that goes -> EXACT or NEAR.  `alike` has the last word on two that share a
    key."""
    order = np.lexsort((features.names, features.created, -features.ratings.astype(np.int64)))
    again = _exact(features.digests, order)
    gone = dict.fromkeys(order[again].tolist(), EXACT)
    if features.keys.shape[1]:
        left = order[~again]
        gone |= dict.fromkeys(_near(features.keys, left, alike), NEAR)
    return gone


def _exact(digests: npt.NDArray[Any], order: Indices) -> npt.NDArray[np.bool_]:
    """For each in `order`, whether one before it is the same."""
    again = np.zeros(len(order), np.bool_)
    ours = digests[order]
    by_digest = np.lexsort((np.arange(len(order)), ours[:, 1], ours[:, 0]))
    ranked = ours[by_digest]
    again[by_digest[1:]] = (ranked[1:] == ranked[:-1]).all(axis=1)
    return again


def _near(keys: npt.NDArray[np.uint32], order: Indices, alike: Alike) -> list[int]:
    groups = _groups(keys[order])
    stay: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
    gone: list[int] = []
    for place in np.flatnonzero((groups >= 0).any(axis=1)).tolist():
        number = int(order[place])
        mine = [group for group in groups[place].tolist() if group >= 0]
        if any(alike(number, int(order[other])) for other in _candidates(mine, stay)):
            gone.append(number)
            continue
        for group in mine:
            if len(stay[group]) < _MOST_KEPT:
                stay[group].append(place)
    return gone


def _candidates(mine: list[int], stay: defaultdict[int, "array[int]"]) -> list[int]:
    """Those that share the most keys first, of these the better ones."""
    shared = Counter(place for group in mine for place in stay[group])
    return sorted(shared, key=lambda place: (-shared[place], place))[:_MOST_COMPARED]


def _groups(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """For each pair and band the number of the group that has its key; -1 where it is alone."""
    groups = np.full(keys.shape, -1, np.int32)
    first = 0
    for band in range(keys.shape[1]):
        _, which, sizes = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        several = sizes > 1
        numbers = np.where(several, first + np.cumsum(several) - 1, -1)
        groups[:, band] = numbers[which]
        first += int(several.sum())
    return groups
