"""Frames: how one record lies in a segment.  Length and CRC-32 of the payload (little-endian u32),
payload.

A record is whole or it is not there: a write cut short by a kill or a power loss fails the length
or the CRC.
"""

import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

HEADER = Struct("<II")
MAX_RECORD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Frames:
    """`records`: (payload, offset after it), in order.  `after`: where to go on.  `damaged`: frames
    passed over because their CRC is wrong.  `torn`: what follows `after` is not a frame; nothing
    more can be read."""

    records: list[tuple[bytes, int]]
    after: int
    damaged: int
    torn: bool


def frame(payload: bytes) -> bytes:
    """`payload` as it is appended to a segment."""
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def read_frames(path: Path, offset: int, end: int, budget_bytes: int) -> Frames:
    """Whole frames of `path` between `offset` and `end`: about `budget_bytes` of them, at least
    one.

    Blocks on the disk: call it in a thread.  Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = min(max(budget_bytes, HEADER.size), end - offset)
        data = _read(handle, wanted, offset)
        if len(data) >= HEADER.size:
            length = HEADER.unpack_from(data)[0]
            missing = HEADER.size + length - len(data)
            if 0 < missing <= end - offset - len(data):
                data += _read(handle, missing, offset + len(data))
    finally:
        os.close(handle)
    return _split(data, offset, whole=offset + len(data) >= end or len(data) < wanted)


def _read(handle: int, size: int, offset: int) -> bytes:
    """`size` bytes unless the file ends before."""
    pieces = []
    while size > 0 and (piece := os.pread(handle, size, offset)):
        pieces.append(piece)
        size -= len(piece)
        offset += len(piece)
    return b"".join(pieces)


def _split(data: bytes, offset: int, *, whole: bool) -> Frames:
    records = []
    position = damaged = 0
    torn = False
    while position + HEADER.size <= len(data):
        length, crc = HEADER.unpack_from(data, position)
        # A file grown by a power loss ends in zeros, and the CRC of nothing is zero: no record is
        # empty.
        if length == 0 or length > MAX_RECORD_BYTES:
            torn = True
            break
        after = position + HEADER.size + length
        if after > len(data):
            break
        payload = data[position + HEADER.size : after]
        position = after
        if zlib.crc32(payload) == crc:
            records.append((payload, offset + after))
        else:
            damaged += 1
    stuck = position == 0 or whole
    return Frames(records, offset + position, damaged, torn or (stuck and position < len(data)))


def count_frames(path: Path, offset: int, end: int) -> int:
    """How many frames lie between `offset` and `end`, by their lengths alone.  Blocks; raises
    OSError."""
    if end <= offset:
        return 0
    found = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = min(end, len(data))  # it may have been cut since somebody looked
        while offset + HEADER.size <= end:
            length = HEADER.unpack_from(data, offset)[0]
            offset += HEADER.size + length
            if length == 0 or offset > end:
                break
            found += 1
    return found
