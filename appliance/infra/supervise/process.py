"""One child process of `up`: in a session of its own, its output in a file, dead with `up`."""

import asyncio
import ctypes
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 64 * 1024 * 1024
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a child is started.  `kept` is the descriptor of the state folder's lock, inherited."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    death_signal: signal.Signals
    kept: int


class Process:
    """A started child; `began` is when, by the monotonic clock."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.began = time.monotonic()

    @property
    def pid(self) -> int:
        """Its pid: the part's own, also behind `unshare`, which replaces itself."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Has it not been seen to end?"""
        return self._process.returncode is None

    async def exited(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` for its end; True when it has ended."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it has ended."""
        if self.running:
            self._process.send_signal(number)

    async def stop(self, number: signal.Signals, limit_s: float) -> bool:
        """Ask it to end with `number`, kill it after `limit_s`; True when it ended by itself."""
        self.send(number)
        if await self.exited(limit_s):
            return True
        self.send(signal.SIGKILL)
        await self._process.wait()
        return False

    def how_it_ended(self) -> str:
        """`exit status 3` or `signal SIGKILL`."""
        status = self._process.returncode
        if status is None:
            return "still running"
        return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


async def spawn(launch: Launch) -> Process:
    """Start a child.  On the main thread only: the parent-death signal follows the thread."""
    with launch.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *launch.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **launch.environment},
            **tied(launch.death_signal, launch.kept),
        )
    return Process(process)


def tied(death_signal: signal.Signals, *kept: int) -> dict[str, Any]:
    """What ties a child to this process, for create_subprocess_exec: it gets `death_signal` when
    this process dies, holds the descriptors `kept`, and has a session and a private umask."""
    return {
        "pass_fds": kept,
        "start_new_session": True,
        "umask": 0o077,
        "preexec_fn": partial(_die_with, os.getpid(), death_signal),
    }


def _die_with(parent: int, number: int) -> None:
    """In the child, before exec: have the kernel send `number` when `parent` dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above


def previous(log: Path) -> Path:
    """Where the older part of `log` is kept."""
    return log.with_suffix(".log.1")


def rotate(log: Path) -> None:
    """Keep one previous log; the new one starts empty."""
    if log.exists():
        log.replace(previous(log))


def bound(log: Path) -> None:
    """Move what is in `log` aside once it is too long; its writer starts at its top again."""
    with suppress(OSError):  # deleted by hand, or no space: a log stops nothing
        if log.stat().st_size > _LOG_BYTES:
            shutil.copyfile(log, previous(log))
            os.truncate(log, 0)


def tail(log: Path, lines: int = 8) -> str:
    """The last `lines` of `log`, indented; empty when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            found = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line[:300]}" for line in found[-lines:])
