"""Real NATS and real PostgreSQL, an appliance's configuration over them, and Dagster in this
process: the assets run event loops of their own, so the tests here are not coroutines."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.fakes.dagster_lab import Lab
from tests.fakes.kept_events import Kept
from tests.fixtures_nats import NatsServer


@pytest.fixture
def kept(tmp_path: Path, nats_server: NatsServer, dsn: str) -> Kept:
    return Kept(nats_server, tmp_path / "nats" / "store", dsn)


@pytest.fixture
def lab(tmp_path: Path, kept: Kept) -> Lab:
    return Lab(tmp_path, kept)


@pytest.fixture
def stored(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """With runs and logs on disk: schedules want an instance that others can open, too."""
    (home := tmp_path / "home").mkdir()
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(home), overrides=quiet) as instance:
        lab.instance = instance
        yield lab
