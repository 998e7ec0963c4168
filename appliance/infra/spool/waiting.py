"""Reads records that wait in the spool, from outside, without its lock.  For `appliance trace` and
`appliance forget`; blocks on the disk."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from appliance.infra.spool.folder import SUFFIX, process_folders, read_progress
from appliance.infra.spool.frames import read_frames

CHUNK_BYTES = 1024 * 1024


def count_waiting(directory: Path, concerns: Callable[[bytes], bool]) -> int:
    """How many records not acked yet `concerns` holds of; an upper bound, for what was acked a
    moment ago is noted a moment later.  Raises OSError."""
    return sum(map(concerns, waiting_payloads(directory)))


def waiting_payloads(directory: Path) -> Iterator[bytes]:
    """Records not acked yet, those of each process oldest first.  Raises OSError."""
    for folder in process_folders(directory):
        number, acked = read_progress(folder)
        for segment in sorted(folder.glob(f"*{SUFFIX}")):
            if segment.stem.isdecimal() and int(segment.stem) >= number:
                yield from _payloads(segment, acked if int(segment.stem) == number else 0)


def _payloads(segment: Path, offset: int) -> Iterator[bytes]:
    with suppress(FileNotFoundError):  # the shipper deletes what is in the stream
        end = segment.stat().st_size
        while offset < end:
            frames = read_frames(segment, offset, end, CHUNK_BYTES)
            yield from (payload for payload, _ in frames.records)
            if frames.torn:
                return
            offset = frames.after
