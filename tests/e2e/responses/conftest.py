"""Gateways that share a PostgreSQL and a NATS server, before one scripted backend."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

LEASE_S = 4.0  # a busy machine may halt a gateway that lives for some seconds
Start = Callable[..., GatewayProcess]


@dataclass
class State:
    """What the gateways share; `start()` makes one more, ended with the module."""

    nats: NatsServer
    dsn: str
    start: Start


@pytest.fixture(scope="module")
def lease_s() -> float:
    """Of the gateways of a module."""
    return LEASE_S


@pytest.fixture(scope="module")
def state(
    postgres_cluster: Cluster,
    migrated: str,
    backend: ScriptedBackend,
    tmp_path_factory: pytest.TempPathFactory,
    lease_s: float,
) -> Iterator[State]:
    folder = tmp_path_factory.mktemp("responses")
    nats = NatsServer(folder)
    dsn = postgres_cluster.create_database(migrated)
    (folder / "dsn").write_text(dsn)
    (folder / "token").write_text(nats.config.token)
    config = _config(backend, folder, nats, lease_s)
    with ExitStack() as stack:
        nats.start()
        stack.callback(nats.kill)

        def start() -> GatewayProcess:
            own = tmp_path_factory.mktemp("gateway")
            return stack.enter_context(GatewayProcess(own, config))

        yield State(nats, dsn, start)


@pytest.fixture(scope="module")
def one(state: State) -> GatewayProcess:
    return state.start()


@pytest.fixture(scope="module")
def other(state: State) -> GatewayProcess:
    return state.start()


def _config(backend: ScriptedBackend, folder: Path, nats: NatsServer, lease_s: float) -> str:
    return f"""{backend_config(backend.base_url)}
[gateway]
drain_s = 0.5
[postgres]
dsn = "file:{folder / "dsn"}"
[nats]
url = "{nats.config.url}"
token = "file:{folder / "token"}"
[responses]
lease_s = {lease_s}
"""
