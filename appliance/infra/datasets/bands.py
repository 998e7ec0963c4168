"""Locality-sensitive hashing: near pairs share a key, others hardly ever do.

A key is of a few min-hashes of the whole pair and as many of its response, since near duplicates
are alike in both.  Not a library's: rensa and datasketch (which needs scipy) keep whole signatures
of one set in memory, and this much is arithmetic.
"""

import hashlib

import numpy as np

from appliance.infra.datasets.shingles import MinHashes, Numbers

_MOST_HASHES = 64  # of each of both sets
_FOUND = 0.999  # of duplicates that are as unlike as they may be


class Bands:
    """`count` keys of 32 bits a pair; none where only the same is a duplicate (`near` 1)."""

    def __init__(self, near: float) -> None:
        self._rows = rows_for(near)
        self.count = _MOST_HASHES // self._rows if near < 1 else 0
        self._hashes = MinHashes(self.count * self._rows)

    def of(self, whole: Numbers, response: Numbers) -> bytes:
        """The keys, four bytes each."""
        signature = np.stack([self._hashes.of(whole), self._hashes.of(response)], axis=1)
        bands = signature.reshape(self.count, 2 * self._rows)
        return b"".join(hashlib.blake2b(band.tobytes(), digest_size=4).digest() for band in bands)


def rows_for(near: float) -> int:
    """The most min-hashes a key may be of, so that those that are `near` share one."""
    for rows in range(8, 1, -1):
        if 1 - (1 - near ** (2 * rows)) ** (_MOST_HASHES // rows) >= _FOUND:
            return rows
    return 1
