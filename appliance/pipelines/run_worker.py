"""The process that executes a run, in Dagster's word its worker, as others know it: the tag it puts
on the run, and the lines between launcher and run server.  Read by `launcher.py` and
`run_server.py`; nothing of Dagster is imported.
"""

import os
import socket
from pathlib import Path

import msgspec

# The UI hides tags that begin so.
WORKER_TAG = ".dagster/appliance_worker"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the run server is told: start this run, or end it."""

    run: str
    end: bool = False


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What the run server reports: the process of the run is gone.  `how` is "" for a regular end;
    `tail` is the end of what it printed outside of its steps."""

    run: str
    how: str
    tail: str


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that no later one is taken for: pids repeat, start times with them do not."""

    host: str
    boot: str
    pid: int
    began: str  # clock ticks since the boot


def this_worker() -> str:
    """The tag's value for the calling process."""
    return msgspec.json.encode(_worker(os.getpid())).decode()


def read_worker(tag: str) -> Worker | None:
    """The worker that a tag names; None when it is not one of ours."""
    try:
        return msgspec.json.decode(tag, type=Worker)
    except msgspec.DecodeError:
        return None


def is_alive(worker: Worker) -> bool:
    """Does exactly this process still run, on this host?"""
    try:
        return _worker(worker.pid) == worker and _state(worker.pid) not in "ZX"
    except OSError:
        return False


def _worker(pid: int) -> Worker:
    return Worker(
        host=socket.gethostname(),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid=pid,
        began=_stat(pid)[19],
    )


def _state(pid: int) -> str:
    return _stat(pid)[0]


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) stat after the name, from `state` on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
