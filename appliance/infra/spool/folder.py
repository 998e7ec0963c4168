"""One process's directory in the spool: claimed with a lock, or adopted from a process that is
gone.

The lock is flock on the directory itself: the kernel drops it with the process, however it ends.
"""

import fcntl
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from appliance.config.schema import SpoolConfig

SUFFIX = ".seg"
PROGRESS = "progress"
_TRIES = 20


class Folder:
    """A directory this process holds the lock of, until `release` or `remove`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Let the next process adopt what is left."""
        os.close(self._lock)

    def remove(self) -> None:
        """Delete the directory with everything in it, then unlock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def segment(self, number: int) -> Path:
        """Where segment `number` lies."""
        return self.path / f"{number:08d}{SUFFIX}"

    def segments(self) -> list[tuple[int, Path, int]]:
        """(number, path, bytes) of every segment, oldest first.  Raises OSError."""
        found = [(int(p.stem), p) for p in self.path.glob(f"*{SUFFIX}") if p.stem.isdecimal()]
        return [(number, path, path.stat().st_size) for number, path in sorted(found)]

    def write_progress(self, number: int, offset: int) -> None:
        """Everything before `offset` of segment `number` is acked.  Raises OSError."""
        line = f"{number:012d} {offset:016d}"
        data = f"{line} {zlib.crc32(line.encode()):08x}\n".encode()
        handle = os.open(self.path / PROGRESS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, data, 0)
        finally:
            os.close(handle)


def spool_directory(config: SpoolConfig, state: Path) -> Path:
    """Where the processes of one host have theirs."""
    return Path(config.dir).expanduser() if config.dir else state / "spool"


def claim(root: Path, wall: Callable[[], float] = time.time) -> Folder:
    """A new locked directory under `root`, which is made when missing.  Raises OSError.

    Its name, milliseconds and more, is behind all that are there, wherever the clock was set.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for _ in range(_TRIES):
        latest = max((started_ms(path) for path in process_folders(root)), default=0)
        began = max(int(wall() * 1000), latest + 1)
        path = root / f"{began:013d}-{os.getpid()}-{secrets.token_hex(3)}"
        path.mkdir(mode=0o700)
        if folder := _lock(path):
            return folder
    raise OSError(f"no directory in {root} could be locked")


def adopt(root: Path) -> Iterator[Folder]:
    """Lock and yield every directory under `root` that nobody holds, oldest first."""
    for path in process_folders(root):
        if folder := _lock(path):
            yield folder


def process_folders(root: Path) -> list[Path]:
    """The directories of processes, living and dead, oldest first."""
    try:
        return sorted(p for p in root.iterdir() if p.is_dir() and p.name[:1].isdecimal())
    except FileNotFoundError:
        return []


def started_ms(path: Path) -> int:
    """Unix milliseconds in the name of a process's directory; 0 when it is no such name."""
    digits = path.name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def read_progress(path: Path) -> tuple[int, int]:
    """(segment number, offset) up to which the directory `path` is acked; (0, 0) when it does not
    say."""
    with suppress(OSError, ValueError, UnicodeDecodeError):
        number, offset, crc = (path / PROGRESS).read_text("ascii").split()
        if int(crc, 16) == zlib.crc32(f"{number} {offset}".encode()):
            return int(number), int(offset)
    return 0, 0


def _lock(path: Path) -> Folder | None:
    """None when another process holds it, or removed it while we were about to."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return Folder(path, handle)
    except OSError:
        pass
    os.close(handle)
    return None
