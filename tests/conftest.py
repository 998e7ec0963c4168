"""Fixtures that more than one folder of tests uses: real parts, one of each for the session."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from psycopg.conninfo import conninfo_to_dict
from xdist.scheduler import LoadScopeScheduling

from appliance.infra.postgres.migrate import migrate
from tests.fakes.postgres import Cluster

pytest_plugins = ["tests.fixtures_nats"]

ROOT = Path(__file__).parents[1]
ARTEFACTS = Path(os.environ.get("APPLIANCE_ARTEFACTS") or ROOT / "build" / "artefacts")
# Their files share what takes long to start, or a cache that two may not fill at once.
ONE_WORKER = ("tests/e2e/dagster", "tests/clients")
_BEGAN = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """When it began: measurements of an earlier run are not said again.  And Hypothesis as in any
    CI: no deadline for an example, which a busy machine would miss, and the same examples always;
    `--hypothesis-profile default` looks for others."""
    config.stash[_BEGAN] = time.time()
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("ci")


class FilesTogether(LoadScopeScheduling):
    """`pytest -n`: a file's tests stay with one worker, and so do those of some folders."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for name in ONE_WORKER if file.startswith(f"{name}/")), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return FilesTogether(config, log)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The measurements: they depend on the machine, so nothing is asserted of them."""
    measured = ARTEFACTS / "dagster" / "measured.txt"
    if measured.is_file() and measured.stat().st_mtime >= config.stash[_BEGAN]:
        for line in measured.read_text().splitlines():
            terminalreporter.write_line(f"measured: {line}")


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """As they were: Dagster lays SIGINT's on SIGTERM in a process that runs something, and where
    SIGINT is ignored, as in the background of a shell, no child could be ended any more."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def postgres_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running PostgreSQL with pgvector, of this session."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    try:
        asyncio.run(cluster.create())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_cluster: Cluster) -> str:
    """The application's database, shared by the session and not migrated; no superuser."""
    return postgres_cluster.postgres.dsn


@pytest.fixture
def fresh_dsn(postgres_cluster: Cluster) -> str:
    """A database of the test's own, not migrated."""
    return postgres_cluster.create_database()


@pytest.fixture(scope="session")
def migrated(postgres_cluster: Cluster) -> str:
    """The name of a database with its tables, to be copied: a third of what making them costs."""
    dsn = postgres_cluster.create_database()
    asyncio.run(migrate(dsn))
    return str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def dsn(postgres_cluster: Cluster, migrated: str) -> str:
    """A database of the test's own, with its tables."""
    return postgres_cluster.create_database(migrated)
