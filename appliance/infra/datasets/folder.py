"""The folder of a dataset: written beside the old one, and put into its place when all is on disk.

A kill at any moment leaves the old one as it was, or the new one whole.  Others cannot read it.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from appliance.config.schema import DatasetConfig
from appliance.domain.datasets.manifest import Manifest
from appliance.domain.datasets.split import SIDES
from appliance.domain.errors import ConfigError, PartUnavailable

NAME = "chat_pairs"
MANIFEST = "manifest.json"
FILES = frozenset({MANIFEST, *(f"{side}.{end}" for side in SIDES for end in ("jsonl", "parquet"))})
PART = "datasets"
_AT_FDCWD, _EXCHANGE = -100, 2  # of <fcntl.h> and <linux/fs.h>
_NOT_EXCHANGED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_NOT_ALLOWED = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
})  # fmt: skip


def dataset_folder(config: DatasetConfig, state: Path) -> Path:
    """Where the pairs of this host go."""
    return (Path(config.dir) if config.dir else state / "datasets") / NAME


def manifest_of(folder: Path) -> Manifest:
    """Of the dataset in `folder`.  Raises OSError, and msgspec.DecodeError for one of another
    release."""
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)


def filters_of(config: DatasetConfig) -> dict[str, Any]:
    """What `Manifest.filters` says of it, as JSON has it; where the files go is no rule."""
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config))
    del told["dir"]
    return told


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target` once the block is through; after an error there is
    nothing of it.

    Raises ConfigError when `target` holds what is no dataset, another export is at it, or it may
    not be written, and PartUnavailable(part="datasets") when the disk is full or fails.
    """
    with _disk_errors(target):
        target = target.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(target):
            new, old = (target.with_name(f".{target.name}.{end}") for end in ("new", "old"))
            _recover(target, old)
            _require_ours(target)
            _remove(new)
            new.mkdir(mode=0o700)
            try:
                yield new
                _sync(new)
                _put(new, target, old)
            finally:
                _remove(new)


def create(path: Path) -> IO[bytes]:
    """A new file only its owner may read.  Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(handle, "w+b")


def digest(path: Path) -> str:
    """sha256 of what is in it, in hex.  Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        sentence = f"the dataset {target} cannot be written: {exc.strerror or exc}"
        if exc.errno in _NOT_ALLOWED:
            raise ConfigError(f"{sentence} ([dataset] dir, --out)") from exc
        raise PartUnavailable(f"{sentence}; what was there before is untouched", part=PART) from exc


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """The lock goes with the process, its file stays."""
    path = target.with_name(f".{target.name}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError(f"another export writes {target}: wait for it to end") from exc
        yield
    finally:
        os.close(handle)


def _require_ours(target: Path) -> None:
    """What is replaced is gone: a folder with anything else in it stays."""
    if not target.exists():
        return
    foreign = sorted(set(os.listdir(target)) - FILES)
    if foreign:
        raise ConfigError(
            f"{target} holds {foreign[0]!r}, which is no dataset: name another folder"
        )


def _recover(target: Path, old: Path) -> None:
    """Where folders cannot be exchanged, a kill may have left the old one beside."""
    if old.exists() and not target.exists():
        old.rename(target)
    _remove(old)


def _put(new: Path, target: Path, old: Path) -> None:
    if not target.exists():
        new.rename(target)
    elif not _exchanged(new, target):
        target.rename(old)
        new.rename(target)
        _remove(old)
    _sync_folder(target.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Both at once, so that there is no moment without a dataset; False where the file system
    cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    if not libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _NOT_EXCHANGED:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
