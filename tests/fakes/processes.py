"""Processes of parts from outside: frozen whole, thawed, measured."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tests.fakes.until import WAIT_S


def family(pid: int) -> list[int]:
    """`pid` and everything below it.  PostgreSQL's backends lead sessions of their own: a signal
    to a group does not reach them."""
    if not Path(f"/proc/{pid}").exists():  # it ended while we looked
        return []
    return [pid, *(deep for child in children(pid) for deep in family(child))]


def children(pid: int) -> list[int]:
    """Whatever thread of `pid` started them."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(FileNotFoundError, ProcessLookupError):
                told = Path(f"/proc/{pid}/task/{thread}/children").read_text()
                found += map(int, told.split())
    return found


def freeze(pid: int) -> None:
    """SIGSTOP for the whole family, those included that are born while we look."""
    stopped: set[int] = set()
    while left := set(family(pid)) - stopped:
        _send(left, signal.SIGSTOP)
        stopped |= left


def thaw(pid: int) -> None:
    """SIGCONT for the whole family."""
    _send(set(family(pid)), signal.SIGCONT)


def kill(pid: int) -> None:
    """kill -9 for the whole family; nothing of it is left, but a zombie."""
    freeze(pid)  # nobody is born any more
    gone = set(family(pid))
    _send(gone, signal.SIGKILL)
    for each in gone:
        wait_gone(each)


def is_alive(pid: int) -> bool:
    """A thread of it still runs.  The first may be a zombie while others hold its sockets open."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(_runs(Path(f"/proc/{pid}/task/{thread}")) for thread in threads)


def wait_gone(pid: int, timeout_s: float = WAIT_S) -> None:
    """Until `pid` has ended, reaped or not."""
    deadline = time.monotonic() + timeout_s
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.001)


def memory(pid: int) -> tuple[int, int]:
    """Bytes in memory now, and the most there ever were."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    now, most = (int(told[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return now, most


def proportional(pid: int) -> int:
    """Bytes in memory now, what is shared with others divided among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"nothing is told of process {pid}")


def sizes(pids: Iterable[int], size: Callable[[int], int]) -> list[int]:
    """`size` of each that is still there: PostgreSQL's backends come and go."""
    found = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(size(pid))
    return found


def resident(pid: int) -> int:
    """Bytes in memory now."""
    return memory(pid)[0]


def _runs(thread: Path) -> bool:
    try:
        state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
