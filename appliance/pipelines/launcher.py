"""ForkLauncher: hands a run to a warm run server, and knows what became of it.

`dagster.yaml` names the class; the `dagster` process has the only one that launches (runs asked for
elsewhere wait in the queue for its daemon).  The run server (run_server.py) is started for the
first run, ended after `idle_s` without any, and dies with this process.  A run whose process is
gone is marked failed with a sentence; what it had pulled is delivered again to the next.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec
from dagster import (
    DagsterError,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Field,
    RunsFilter,
)
from dagster._core.errors import DagsterLaunchFailedError

# Not among the names Dagster exports at its top (1.13.27).
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from appliance.pipelines.run_worker import WORKER_TAG, Ended, Order, Worker, is_alive, read_worker

_IDLE_S = 120.0
_LEAVE_S = 2.5  # the run server gives its runs two
_RETRY_S = 1.0
_UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_AWAY = (SQLAlchemyError, DagsterPostgresException)
# A thread pool that an import started in the run server would not be there in its children.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_log = logging.getLogger("appliance.pipelines.launcher")


@dataclass(slots=True)
class _RunServer:
    """The process at the other end; `runs`: what it was told to start, and has not ended."""

    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    reports: int
    runs: set[str] = field(default_factory=set)

    def send(self, order: Order) -> None:
        self.orders.write(msgspec.json.encode(order) + b"\n")
        self.orders.flush()


class ForkLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Every method may be called from any thread."""

    def __init__(
        self, idle_s: float = _IDLE_S, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._idle_s = idle_s
        self._inst_data = inst_data
        self._lock = threading.Lock()
        self._server: _RunServer | None = None
        self._closed = threading.Event()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What `dagster.yaml` said."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """`idle_s`: seconds without a run after which the run server ends."""
        return {"idle_s": Field(float, is_required=False, default_value=_IDLE_S)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ForkLauncher":
        """From `dagster.yaml`."""
        return cls(config_value["idle_s"], inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand the run over and return; DagsterLaunchFailedError while this process is stopping."""
        run_id = context.dagster_run.run_id
        with self._lock:
            if self._closed.is_set():
                raise DagsterLaunchFailedError(  # type: ignore[no-untyped-call]
                    "the `dagster` role is stopping"
                )
            if not self._sent(self._server, run_id):
                self._server = self._open()
                self._sent(self._server, run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run, and kill it when it does not end; True unless it had ended."""
        instance = self._instance
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        instance.report_run_canceling(run)
        with self._lock:
            server = self._server
            if server is not None and run_id in server.runs:
                with suppress(BrokenPipeError):  # it is gone: its listener settles the run
                    server.send(Order(run=run_id, end=True))
                return True
        worker = _worker_of(run)
        if worker is not None and is_alive(worker):
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.killpg(worker.pid, signal.SIGTERM)
        else:
            instance.report_run_canceled(run, "Its process had ended before.")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Is the run's process still there?  A run without our tag executes in a process that
        somebody started by hand: nothing is known of it, and it is left alone."""
        with self._lock:
            known = self._server is not None and run.run_id in self._server.runs
        worker = _worker_of(run)
        if known or worker is None or is_alive(worker):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, _gone(worker))

    def sweep(self) -> int:
        """Mark what an earlier `dagster` process left unfinished; returns how many runs.

        Called once, before the daemon starts: no run of ours can be alive then, since runs die with
        the process that launched them and only one holds the database (leader.py).
        """
        swept = 0
        for run in self._instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
            worker = _worker_of(run)
            by_hand = worker is None and run.status == DagsterRunStatus.STARTED
            if not by_hand and not (worker is not None and is_alive(worker)):
                self._fail(run, _gone(worker))
                swept += 1
        return swept

    def dispose(self) -> None:
        """End the run server and its runs; called when the instance is closed."""
        self._closed.set()
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return
        with suppress(OSError):
            server.orders.close()
        try:
            server.process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()

    def _sent(self, server: _RunServer | None, run_id: str) -> bool:
        """False when there is no run server, or it has just died."""
        if server is None:
            return False
        try:
            server.send(Order(run=run_id))
        except (OSError, ValueError):
            return False
        server.runs.add(run_id)
        return True

    def _open(self) -> _RunServer:
        # Its own session: Ctrl-C is for this process, which then ends it in order.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "appliance.pipelines.leash", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        server = _RunServer(process, process.stdin, process.stdout.fileno())
        threading.Thread(
            target=self._listen, args=(server,), name="run-server-reports", daemon=True
        ).start()
        return server

    def _listen(self, server: _RunServer) -> None:
        """Until the run server is gone: take its reports, end it when it has been idle."""
        pending = b""
        while True:
            if not select.select([server.reports], [], [], self._idle_s)[0]:
                self._end_idle(server)
                continue
            data = os.read(server.reports, 65536)
            if not data:
                return self._bury(server)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                report = msgspec.json.decode(line, type=Ended)
                self._settle(server, report.run, _sentence(report))

    def _end_idle(self, server: _RunServer) -> None:
        with self._lock:
            if server.runs or self._server is not server:
                return
            self._server = None
            with suppress(OSError):
                server.orders.close()

    def _bury(self, server: _RunServer) -> None:
        """It is gone, and its runs with it."""
        status = server.process.wait()
        for pipe in (server.orders, server.process.stdout):
            with suppress(OSError):  # orders nobody took
                if pipe is not None:
                    pipe.close()
        with self._lock:
            if self._server is server:
                self._server = None
            left = list(server.runs)
        if left:
            _log.error("run_server_died", extra={"status": status, "runs": left})
        for run_id in left:
            sentence = f"The run server died (status {status}), and this run with it."
            self._settle(server, run_id, sentence)

    def _settle(self, server: _RunServer, run_id: str, sentence: str) -> None:
        """Mark a run of `server` failed, or canceled, unless it says itself how it ended.

        Waits for the database; at the end of this process the next one's sweep does it.  What
        Dagster itself refuses would be refused again: its run monitoring finds the run next.
        """
        while True:
            try:
                run = self._instance.get_run_by_id(run_id)
                if run is not None and not run.is_finished:
                    self._fail(run, sentence)
                break
            except _AWAY as exc:
                _log.warning("run_not_settled", extra={"run": run_id, "error": str(exc)})
            except DagsterError:
                _log.exception("run_not_settled", extra={"run": run_id})
                break
            if self._closed.wait(_RETRY_S):
                return
        with self._lock:
            server.runs.discard(run_id)

    def _fail(self, run: DagsterRun, sentence: str) -> None:
        if run.status == DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, sentence)
            return
        _log.warning("run_failed", extra={"run": run.run_id, "job": run.job_name, "why": sentence})
        self._instance.report_run_failed(run, sentence)


def _worker_of(run: DagsterRun) -> Worker | None:
    tag = run.tags.get(WORKER_TAG)
    return read_worker(tag) if tag else None


def _gone(worker: Worker | None) -> str:
    if worker is None:
        return "It was never started: the `dagster` process that was to do so has ended."
    return f"Its process (pid {worker.pid} on {worker.host}) has ended without a word."


def _sentence(report: Ended) -> str:
    how = f"by {report.how}" if report.how.startswith("signal") else report.how
    said = f"; the end of what it said:\n{report.tail}" if report.tail.strip() else ""
    return f"Its process ended {how or 'early'}{said or '.'}"
