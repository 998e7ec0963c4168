"""What the commands on kept events need: real NATS, real PostgreSQL, and a host's configuration."""

from pathlib import Path

import pytest

from tests.fakes.kept_events import Kept, Run, commands
from tests.fixtures_nats import NatsServer


@pytest.fixture
def kept(tmp_path: Path, nats_server: NatsServer, dsn: str) -> Kept:
    return Kept(nats_server, tmp_path / "nats" / "store", dsn)


@pytest.fixture
def appliance(tmp_path: Path, kept: Kept) -> Run:
    return commands(tmp_path, kept.server, kept.dsn)
