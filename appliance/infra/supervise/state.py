"""The state folder of an appliance: made private, locked by one `up` at a time, with its secrets.

Two locks.  `up.lock` is held by the running `up` alone.  `parts.lock` is inherited by every part,
so it is free only when the last process of an earlier run is gone, whatever its pid was.
"""

import errno
import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from appliance.domain.errors import ConfigError
from appliance.infra.supervise.files import write_private

NEEDED_BYTES = 200 * 1024 * 1024
_LEFTOVERS_LEAVE_S = 10.0


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Generated once, kept in STATE/secrets.json (0600)."""

    postgres_superuser: str = msgspec.field(default_factory=lambda: secrets.token_hex(24))
    postgres: str = msgspec.field(default_factory=lambda: secrets.token_hex(24))
    nats: str = msgspec.field(default_factory=lambda: secrets.token_hex(24))
    llm: str = msgspec.field(default_factory=lambda: secrets.token_hex(24))


def running_pid(state: Path) -> int | None:
    """The pid of the `up` that holds `state`, None when none does.  Changes nothing."""
    try:
        handle = os.open(state / "up.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"the state folder {state} cannot be read: {exc.strerror}") from exc
    try:
        if _locked(handle, fcntl.LOCK_SH):
            return None
        return int(os.read(handle, 32).strip() or 0) or None
    finally:
        os.close(handle)


def refuse_second(state: Path) -> None:
    """Raise ConfigError when an appliance runs on `state` already."""
    if (pid := running_pid(state)) is not None:
        raise ConfigError(
            f"an appliance is already running on the state folder {state} (pid {pid}): "
            f"stop it with `appliance stop --state {state}`, or choose another folder with --state"
        )


def require_space(state: Path, *, needed_bytes: int = NEEDED_BYTES) -> None:
    """Raise ConfigError when the disk `state` is, or would be, on is nearly full."""
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    if (free := shutil.disk_usage(existing).free) < needed_bytes:
        raise ConfigError(
            f"the disk of the state folder {state} is full: {free // 2**20} MB are free "
            f"and {needed_bytes // 2**20} MB are needed; free some space, or choose another folder "
            "with --state"
        )


@contextmanager
def locked_state(state: Path, *, leave_s: float = _LEFTOVERS_LEAVE_S) -> Iterator[int]:
    """Make `state` if need be and hold it.  Yields the descriptor every part must inherit."""
    _make_private(state)
    up = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    parts = os.open(state / "parts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(up, fcntl.LOCK_EX):
            refuse_second(state)
        os.truncate(up, 0)
        os.pwrite(up, f"{os.getpid()}\n".encode(), 0)
        _wait_for_leftovers(state, parts, leave_s)
        yield parts
    finally:
        # Emptied, not unlinked: another `up` may have opened the same file and be about to lock it.
        with suppress(OSError):
            os.truncate(up, 0)
        os.close(parts)
        os.close(up)


def load_secrets(state: Path) -> Secrets:
    """The secrets of this state folder, made at the first call."""
    file = state / "secrets.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Secrets)
    except FileNotFoundError:
        pass
    except msgspec.DecodeError as exc:
        raise ConfigError(f"{file} is not readable: {exc}") from exc
    if (state / "postgres").exists():
        raise ConfigError(
            f"{file} is missing, and without it the database in {state}/postgres cannot be opened"
        )
    made = Secrets()
    write_private(file, msgspec.json.encode(made))
    return made


def _make_private(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = state.stat()
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"the state folder {state} belongs to another user (uid {found.st_uid})"
            )
        ours = (state / "secrets.json").exists() or not any(state.iterdir())
        if not ours and found.st_mode & 0o022:
            raise ConfigError(
                f"the state folder {state} is shared with other users: choose one of your own"
            )
        if ours:
            # A folder with other things in it keeps its mode: everything of ours is private in
            # itself.
            state.chmod(0o700)
    except OSError as exc:
        raise ConfigError(f"the state folder {state} cannot be used: {exc.strerror}") from exc


def _locked(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _wait_for_leftovers(state: Path, handle: int, leave_s: float) -> None:
    """Parts of an `up` that was killed die with it; the database takes a moment.  What stays is
    killed.
    """
    deadline = time.monotonic() + leave_s
    while not _locked(handle, fcntl.LOCK_EX):
        if time.monotonic() > deadline + leave_s:
            pids = ", ".join(map(str, _holders(state / "parts.lock")))
            raise ConfigError(
                f"processes of an earlier run still use the state folder {state}: pids {pids}"
            )
        if time.monotonic() > deadline:
            for pid in _holders(state / "parts.lock"):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _holders(file: Path) -> list[int]:
    """Other processes that have `file` open (Linux: /proc)."""
    target, found = file.resolve(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(process.name) != os.getpid() and any(
                os.readlink(handle) == str(target) for handle in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
    return found
