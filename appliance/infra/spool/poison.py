"""`poison.jsonl`: records that can never be shipped, one JSON object a line, with the reason.

Several gateways append to it and `appliance forget` rewrites it, each under flock on the file.  It
is replaced by a rename, so whoever gets the lock looks whether the file is still the one of that
name.
"""

import base64
import binascii
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

NAME = "poison.jsonl"
_TRIES = 100


class PoisonFile:
    """In `directory`, at most `max_bytes` long.  Every method blocks on the disk."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.path = directory / NAME
        self._max_bytes = max_bytes

    def append(self, payload: bytes, reason: str) -> Path | None:
        """Set `payload` aside; None when there is no room for it."""
        line = (
            msgspec.json.encode({"at": time.time(), "reason": reason, **_content(payload)}) + b"\n"
        )
        try:
            with self._locked(os.O_CREAT) as handle:
                return self.path if self._add(handle, line) else None
        except OSError:
            return None

    def count(self, concerns: Callable[[bytes], bool]) -> int:
        """How many records `concerns` holds of.  Raises OSError."""
        with suppress(FileNotFoundError), self.path.open("rb") as lines:
            return sum(concerns(_payload(line)) for line in lines)
        return 0

    def forget(self, concerns: Callable[[bytes], bool]) -> int:
        """Take out every record `concerns` holds of; how many there were.  A kill in the middle
        leaves the file as it was.  Raises OSError."""
        if not self.path.exists():
            return 0
        with self._locked() as handle:
            return self._rewrite(handle, concerns)

    def _add(self, handle: int, line: bytes) -> bool:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":  # a power loss in the middle of a line
            line = b"\n" + line
        if size + len(line) > self._max_bytes:
            return False
        if os.write(handle, line) != len(line):
            os.ftruncate(handle, size)
            return False
        os.fsync(handle)
        return True

    def _rewrite(self, handle: int, concerns: Callable[[bytes], bool]) -> int:
        beside = self.path.with_name(f"{NAME}.new")  # ours alone: we hold the lock
        made = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        removed = 0
        with os.fdopen(os.dup(handle), "rb") as lines, os.fdopen(made, "wb") as kept:
            for line in lines:
                if concerns(_payload(line)):
                    removed += 1
                else:
                    kept.write(line)
            kept.flush()
            os.fsync(made)
        if removed:
            beside.replace(self.path)
            _sync_directory(self.path.parent)
        else:
            beside.unlink()
        return removed

    @contextmanager
    def _locked(self, flags: int = 0) -> Iterator[int]:
        """A descriptor of the file that has the name now, locked until the end of the block.
        Raises OSError."""
        for _ in range(_TRIES):
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self._named(handle):
                    yield handle
                    return
            finally:
                os.close(handle)
        raise OSError(f"{self.path} was replaced again and again")

    def _named(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _content(payload: bytes) -> dict[str, Any]:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"payload_base64": base64.b64encode(payload).decode("ascii")}
    return {"exchange": msgspec.Raw(payload)}


class _Line(msgspec.Struct):
    """The two ways a record is set aside, told apart by `_content`."""

    exchange: msgspec.Raw = msgspec.Raw(b"")
    payload_base64: str = ""


_line = msgspec.json.Decoder(_Line)


def _payload(line: bytes) -> bytes:
    """The record as it was; the line itself when it is not one of ours."""
    try:
        found = _line.decode(line)
        return base64.b64decode(found.payload_base64) or bytes(found.exchange) or line
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error):
        return line
