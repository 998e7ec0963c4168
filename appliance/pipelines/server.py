"""The role `dagster`: Dagster's daemon and its web server in one process, runs forked beside it.

Wires, decides little.  It waits for PostgreSQL and for the code server, and outlives their absence
afterwards; while another role leads it stands by, and its address says so.  When a thread of the
daemon dies the process ends, and the supervisor starts it again.
One process instead of two saves 140 MiB: both hold the same libraries and the same workspace.
"""

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

# What `dagster-daemon run` itself is made of (1.13.27); nothing public runs the daemon in a thread.
from dagster._daemon.controller import DagsterDaemonController, create_daemons_from_instance
from dagster_webserver.app import create_app_from_workspace_process_context
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import dagster_home
from appliance.config.schema import Config
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.entrypoints.options import RunOptions
from appliance.entrypoints.serve import require_free, split_listen
from appliance.infra.telemetry.logs import configure
from appliance.pipelines import instance as instances
from appliance.pipelines.launcher import ForkLauncher
from appliance.pipelines.leader import Leader
from appliance.pipelines.storage import has_tables, upgrade
from appliance.pipelines.waiting import Wait, database_answers, until
from appliance.pipelines.web import ASGIApp, guarded, listen_address, stands_by

_CHECK_S = 5.0
_END_WITHIN_S = 5.0
_PAGE_ENDS_WITHIN_S = 1.5
_POLL_MS = 2000  # how often the UI asks for what changed
_M_ARENA_MAX = -8
_ANOTHER = "another process holds it"
_log = logging.getLogger("appliance.pipelines.server")


def run(options: RunOptions, module: str = instances.DEFINITIONS) -> None:
    """Serve until told to stop, and end this process.  Raises ConfigError when it must not or
    cannot start."""
    listen = listen_address(options.config.dagster, options.listen, options.insecure)
    require_free(listen)
    _configure_logs(options.config.log.level)
    os.environ.update(instances.environment(options, module))
    _few_arenas()
    stop = threading.Event()

    def told_to_stop(*_: object) -> None:
        _end_soon(0)  # first: should `stop` be in use below us, that holds
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told_to_stop)
    status = Role(options, listen, stop).serve()
    sys.stdout.flush()
    # The interpreter takes one to four seconds of a core to take itself apart, for nothing.
    os._exit(status)


@dataclass(frozen=True, slots=True)
class Role:
    """One life of the role, on the main thread; `stop` ends it."""

    options: RunOptions
    listen: str
    stop: threading.Event

    def serve(self) -> int:
        """The exit status: 0 when told to stop, 1 when a part of it died."""
        config = self.options.config
        place = dagster_home.code_socket(Path(os.environ[instances.HOME_VARIABLE]))
        with ExitStack() as stack:
            leader = Leader(instances.conninfo(config))
            stack.callback(leader.close)
            ready = (
                self._until("the database", lambda: database_answers(config))
                and self._lead(leader)
                and self._until("the code server", lambda: _code_answers(place))
            )
            return self._run(stack, place, leader) if ready else 0

    def _lead(self, leader: Leader) -> bool:
        """Have the database to ourselves; False when told to stop before.  As long as another role
        has it, our address says so."""
        with ExitStack() as until_we_lead:

            def takes() -> str:
                why = _takes(leader)
                if why == _ANOTHER and not pages:
                    pages.append(self._page(stands_by))
                    until_we_lead.callback(pages[0].stop)
                    pages[0].start()
                return why

            pages: list[Page] = []
            return self._until("the dagster role that has this database", takes)

    def _page(self, app: ASGIApp) -> "Page":
        return Page(app, self.listen, self.options.config.dagster.allowed_hosts)

    def _until(self, what: str, wait: Wait) -> bool:
        return until(what, wait, self.stop.wait) and not self.stop.is_set()

    def _run(self, stack: ExitStack, place: Path, leader: Leader) -> int:
        instance = stack.enter_context(DagsterInstance.get())
        if upgrade(instance, os.environ[instances.URL_VARIABLE]):
            _log.info("schema_upgraded")
        launcher = cast("ForkLauncher", instance.run_launcher)
        if swept := launcher.sweep():
            _log.warning("runs_of_an_earlier_process_failed", extra={"runs": swept})
        workspace = stack.enter_context(WorkspaceProcessContext(instance, _target(place)))
        daemons = [stack.enter_context(d) for d in create_daemons_from_instance(instance)]
        controller = stack.enter_context(DagsterDaemonController(workspace, daemons))
        app = create_app_from_workspace_process_context(workspace, "", _POLL_MS)
        page = self._page(cast("ASGIApp", app))
        stack.callback(page.stop)
        page.start()
        _log.info("listening", extra={"address": self.listen})
        status = self._watch(controller, page, leader)
        if status:
            _end_soon(status)
        return status

    def _watch(self, controller: DagsterDaemonController, page: "Page", leader: Leader) -> int:
        """Look after the threads until told to stop, or one of them is gone."""
        refreshed = time.time()
        while not self.stop.wait(_CHECK_S):
            why = lost(self.options.config, os.environ[instances.URL_VARIABLE], leader)
            try:
                controller.check_daemon_threads()
                refreshed = controller.check_workspace_freshness(refreshed)
            except Exception as exc:  # noqa: BLE001  (that is the class Dagster raises)
                why = str(exc)
            if why or not page.is_alive():
                _log.error("ending", extra={"why": why or "the web server's thread is gone"})
                return 1
        return 0


class Page(threading.Thread):
    """A web server on a thread of its own, behind the guard."""

    def __init__(self, app: ASGIApp, listen: str, allowed_hosts: Sequence[str]) -> None:
        super().__init__(name="dagster-webserver", daemon=True)
        host, port = split_listen(listen)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded(app, allowed_hosts, listen),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )

    def run(self) -> None:
        """Serve; the thread ends with the server."""
        self._server.run()

    def stop(self) -> None:
        """End it; open connections have a second."""
        self._server.should_exit = True
        self.join(_PAGE_ENDS_WITHIN_S)


def _end_soon(status: int) -> None:
    """Whatever hangs on the way out, a PostgreSQL or a code server that is frozen, it is over by
    then; the end of its input ends the run server and the runs."""
    deadline = threading.Timer(_END_WITHIN_S, os._exit, [status])
    deadline.daemon = True
    deadline.start()


def _target(place: Path) -> GrpcServerTarget:
    return GrpcServerTarget(
        host="localhost", port=None, socket=str(place), location_name=instances.LOCATION
    )


def _takes(leader: Leader) -> str:
    try:
        return "" if leader.take() else _ANOTHER
    except psycopg.OperationalError as exc:
        return str(exc)


def lost(config: Config, url: str, leader: Leader) -> str:
    """Why the database of `config`, at `url`, is not ours any more; "" while it is, and while
    PostgreSQL is away: nobody can take our place then.

    One that was dropped, or made again without its tables, does not come back by itself: only a
    start says what is missing, or makes it.
    """
    try:
        if not leader.take():
            return "another dagster role has taken the database"
        return "" if has_tables(url) else "the tables of Dagster's database are gone"
    except (psycopg.OperationalError, SQLAlchemyError):
        pass
    try:
        instances.require_database(config)
    except ConfigError as exc:
        return str(exc)
    except PartUnavailable:
        pass
    return ""


def _code_answers(place: Path) -> str:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except OSError as exc:
            return f"{place}: {exc.strerror}"
    return ""


def _configure_logs(level: str) -> None:
    """Warnings of Dagster and uvicorn as our lines; one line a tick would be `info`."""
    configure("dagster", level)
    for name in ("dagster", "dagster-webserver", "uvicorn"):
        logging.getLogger(name).handlers.clear()


def _few_arenas() -> None:
    """glibc gives each of twenty threads an arena of its own: MALLOC_ARENA_MAX, for a process that
    runs already."""
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
