"""The run server, started by launcher.ForkLauncher through leash.py.

It imports Dagster and the definitions once, then forks one child per run that it is told of on
standard input: 0.3 CPU-s a run instead of the 4 of a new Python.  It has one thread, so that the
fork is safe, and holds no connection.  The end of its input, which also a `dagster` process that
was killed leaves behind, ends its runs and itself; its own death takes the runs with it.
"""

import ctypes
import importlib
import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import msgspec
from dagster import DagsterInstance

# `dagster api execute_run` without its command line (1.13.27); nothing public runs a launched run.
from dagster._cli.api import _execute_run_command_body
from dagster._utils.interrupts import capture_interrupts

from appliance.infra.telemetry.logs import configure
from appliance.pipelines.instance import DEFINITIONS, LOG_VARIABLE, MODULE_VARIABLE
from appliance.pipelines.run_worker import WORKER_TAG, Ended, Order, this_worker

_PR_SET_PDEATHSIG = 1
_KILL_AFTER_S = 10.0  # a run that was asked to end
_LEAVE_S = 2.0  # runs at the end of this process
_TAIL_BYTES = 2000
_LIBC = ctypes.CDLL(None)
_log = logging.getLogger("appliance.pipelines.run_server")


@dataclass(slots=True)
class _Child:
    run: str
    output: IO[bytes]
    kill_at: float = 0.0  # monotonic; 0: it was not asked to end


class RunServer:
    """The loop: orders in, children out, their ends reported."""

    def __init__(self, orders: int, reports: int) -> None:
        self._orders = orders
        self._reports = reports
        self._children: dict[int, _Child] = {}
        self._pending = b""

    def serve(self) -> None:
        """Until the orders end."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        with woken, wake:
            watched: list[int | socket.socket] = [self._orders, woken]
            while True:
                readable, _, _ = select.select(watched, [], [], self._patience_s())
                if woken in readable:
                    woken.recv(4096)
                self._reap()
                self._kill_late()
                if self._orders in readable and not self._read():
                    return self._leave()

    def _read(self) -> bool:
        """Carry out what came; False at the end of the orders."""
        data = os.read(self._orders, 65536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            order = msgspec.json.decode(line, type=Order)
            if order.end:
                self._end(order.run)
            else:
                self._start(order.run)
        return bool(data)

    def _start(self, run: str) -> None:
        parent = os.getpid()
        try:
            output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed when it ends)
            pid = os.fork()
        except OSError as exc:  # no memory, no disk: the other runs may go on
            self._report(Ended(run=run, how=f"before it began: {exc.strerror}", tail=""))
            return
        if pid == 0:
            os.close(self._reports)  # its end tells the launcher that this process is gone
            _be_run(run, parent, output)
        self._children[pid] = _Child(run, output)

    def _end(self, run: str) -> None:
        for pid, child in self._children.items():
            if child.run == run:
                child.kill_at = child.kill_at or time.monotonic() + _KILL_AFTER_S
                _signal(pid, signal.SIGTERM)

    def _reap(self) -> None:
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                # What it started works for nobody; until it is reaped the group's id is its own.
                _signal(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                child = self._children.pop(pid)
                with child.output:
                    self._report(Ended(run=child.run, how=_how(status), tail=_tail(child.output)))

    def _kill_late(self) -> None:
        now = time.monotonic()
        for pid, child in self._children.items():
            if child.kill_at and now >= child.kill_at:
                _signal(pid, signal.SIGKILL)

    def _patience_s(self) -> float | None:
        late = [child.kill_at for child in self._children.values() if child.kill_at]
        return max(0.05, min(late) - time.monotonic()) if late else None

    def _leave(self) -> None:
        """Ask the runs to end, so that they can say so in the database; kill those that stay."""
        for pid in self._children:
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _LEAVE_S
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.02)
        for pid in self._children:
            _signal(pid, signal.SIGKILL)

    def _report(self, report: Ended) -> None:
        with suppress(BrokenPipeError):  # nobody listens any more: the orders end next
            os.write(self._reports, msgspec.json.encode(report) + b"\n")


def _be_run(run: str, parent: int, output: IO[bytes]) -> None:
    """In the child: execute the run, and never return."""
    status = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died before the line above
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        _execute(run)
        status = 0
    except BaseException:  # noqa: BLE001  (the frames above are the parent's)
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _execute(run: str) -> None:
    with capture_interrupts(), DagsterInstance.get() as instance:
        instance.add_run_tags(run, {WORKER_TAG: this_worker()})
        _execute_run_command_body(run, instance, lambda _: None, set_exit_code_on_failure=False)


def _signal(pid: int, number: signal.Signals) -> None:
    """To the run and what it started; before its setsid there is only the run itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code else ""


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL_BYTES))
    lines = output.read().decode(errors="replace").splitlines()
    # Dagster's own lines are the run's events, which it has already.
    return "\n".join(line for line in lines if " - dagster - " not in line)


def main() -> None:
    """Serve the launcher at the other end of standard input and output."""
    configure("dagster-run", os.environ.get(LOG_VARIABLE, "info"))
    reports = os.dup(1)
    os.dup2(2, 1)  # what an import prints is no report
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the orders' end counts
    try:
        importlib.import_module(os.environ.get(MODULE_VARIABLE, DEFINITIONS))
    except Exception:  # noqa: BLE001  (each run says the same in its own log)
        _log.exception("definitions_failed")
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        _log.warning("fork_with_threads", extra={"threads": threads})
    signal.setitimer(signal.ITIMER_REAL, 0)  # leash.py's: from here on the orders' end counts
    RunServer(0, reports).serve()
    os._exit(0)  # taking the interpreter apart takes seconds, and somebody waits for our end
