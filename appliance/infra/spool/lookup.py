"""Finds an exchange in the spool from outside, without its lock.  For `appliance trace`; blocks on
the disk."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.folder import SUFFIX, process_folders, read_progress
from appliance.infra.spool.frames import read_frames
from appliance.infra.spool.poison import NAME

CHUNK_BYTES = 1024 * 1024
_exchange = msgspec.json.Decoder(Exchange)


class _Poisoned(msgspec.Struct):
    reason: str
    exchange: Exchange


_poisoned = msgspec.json.Decoder(_Poisoned)


def find_in_spool(directory: Path, identifier: str) -> list[Exchange]:
    """Exchanges not acked yet whose trace id or correlation id is `identifier`."""
    found = []
    for payload in _payloads(directory, identifier.encode()):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            exchange = _exchange.decode(payload)
            if identifier in (exchange.trace_id, exchange.correlation_id):
                found.append(exchange)
    return found


def find_poisoned(directory: Path, identifier: str) -> list[tuple[Exchange, str]]:
    """Those that were set aside, each with its reason."""
    found = []
    with suppress(FileNotFoundError), (directory / NAME).open("rb") as lines:
        for line in lines:
            if identifier.encode() not in line:
                continue
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                poisoned = _poisoned.decode(line)
                exchange = poisoned.exchange
                if identifier in (exchange.trace_id, exchange.correlation_id):
                    found.append((exchange, poisoned.reason))
    return found


def _payloads(directory: Path, wanted: bytes) -> Iterator[bytes]:
    for folder in process_folders(directory):
        number, acked = read_progress(folder)
        for segment in sorted(folder.glob(f"*{SUFFIX}")):
            # The shipper may delete what we read: then it is in the stream.
            with suppress(FileNotFoundError, ValueError):
                if int(segment.stem) >= number:
                    start = acked if int(segment.stem) == number else 0
                    yield from _segment(segment, start, wanted)


def _segment(path: Path, offset: int, wanted: bytes) -> Iterator[bytes]:
    end = path.stat().st_size
    while offset < end:
        frames = read_frames(path, offset, end, CHUNK_BYTES)
        yield from (payload for payload, _ in frames.records if wanted in payload)
        if frames.torn:
            return
        offset = frames.after
