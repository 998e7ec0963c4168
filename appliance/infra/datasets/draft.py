"""The pairs no rule is against, on disk until it is known which of them are duplicates.

In memory a pair takes 41 bytes and what its bands take (64 at the default of near_duplicates).
"""

import hashlib
from array import array
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from appliance.domain.datasets.pair import Pair, identity, said
from appliance.infra.datasets.bands import Bands
from appliance.infra.datasets.duplicates import Features
from appliance.infra.datasets.shingles import Numbers, jaccard, shingles

_CACHED = 256  # of the longest texts there may be, 80 MB
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Pair).decode


class Draft:
    """A file of its own in `folder`, which it makes; whoever makes it closes it, and the file goes.
    Pairs are numbered from 0 in the order they come."""

    def __init__(self, folder: Path, near: float) -> None:
        self._path = folder / "draft"
        self._bands = Bands(near)
        self._near = near
        self._starts = array("q", [0])
        self._digests = bytearray()
        self._keys = bytearray()
        self._ratings = array("b")
        self._created = array("d")
        self._names = bytearray()
        self._file: IO[bytes] | None = None
        self._sets: Callable[[int], tuple[Numbers, Numbers]] = lru_cache(_CACHED)(self._shingles)

    def __len__(self) -> int:
        return len(self._ratings)

    def open(self) -> None:
        """Raises OSError."""
        self._file = self._path.open("x+b")

    def close(self) -> None:
        """Also after an error."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def add(self, pair: Pair) -> None:
        """Raises OSError."""
        record = _encode(pair)
        self._opened.write(record)
        self._starts.append(self._starts[-1] + len(record))
        self._digests += identity(pair)[:16]
        self._keys += (
            self._bands.of(*shingles(said(pair.conversation))) if self._bands.count else b""
        )
        self._ratings.append(pair.rating or 0)
        self._created.append(pair.created_at.timestamp())
        self._names += hashlib.sha256(pair.trace_id.encode()).digest()[:8]

    def pair(self, number: int) -> Pair:
        """As it was added."""
        self._opened.seek(self._starts[number])
        return _decode(self._opened.read(self._starts[number + 1] - self._starts[number]))

    def alike(self, one: int, other: int) -> bool:
        """Whether both the whole of them and their responses alone are near: neither the same
        document with two questions nor the same answer to two is one pair."""
        ours, theirs = self._sets(one), self._sets(other)
        pairs = zip(reversed(ours), reversed(theirs), strict=True)
        return all(jaccard(a, b) >= self._near for a, b in pairs)

    def features(self) -> Features:
        """What duplicates are found by."""
        return Features(
            ratings=np.frombuffer(self._ratings, np.int8),
            created=np.frombuffer(self._created, np.float64),
            names=np.frombuffer(self._names, ">u8"),
            digests=np.frombuffer(self._digests, ">u8").reshape(len(self), 2),
            keys=np.frombuffer(self._keys, np.uint32).reshape(len(self), self._bands.count),
        )

    def _shingles(self, number: int) -> tuple[Numbers, Numbers]:
        return shingles(said(self.pair(number).conversation))

    @property
    def _opened(self) -> IO[bytes]:
        if self._file is None:
            raise ValueError("the draft is not open")
        return self._file
