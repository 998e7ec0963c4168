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

LEASE_S = 1.0
Start = Callable[..., GatewayProcess]


@dataclass
class State:
    """What the gateways share; `start()` makes one more, ended with the module."""

    nats: NatsServer
    start: Start


@pytest.fixture(scope="module")
def state(
    postgres_cluster: Cluster,
    migrated: str,
    backend: ScriptedBackend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[State]:
    folder = tmp_path_factory.mktemp("responses")
    nats = NatsServer(folder)
    (folder / "dsn").write_text(postgres_cluster.create_database(migrated))
    (folder / "token").write_text(nats.config.token)
    config = _config(backend, folder, nats)
    with ExitStack() as stack:
        nats.start()
        stack.callback(nats.kill)

        def start() -> GatewayProcess:
            own = tmp_path_factory.mktemp("gateway")
            return stack.enter_context(GatewayProcess(own, config))

        yield State(nats, start)


@pytest.fixture(scope="module")
def one(state: State) -> GatewayProcess:
    return state.start()


@pytest.fixture(scope="module")
def other(state: State) -> GatewayProcess:
    return state.start()


def _config(backend: ScriptedBackend, folder: Path, nats: NatsServer) -> str:
    return f"""{backend_config(backend.base_url)}
[gateway]
drain_s = 0.5
[postgres]
dsn = "file:{folder / "dsn"}"
[nats]
url = "{nats.config.url}"
token = "file:{folder / "token"}"
[responses]
lease_s = {LEASE_S}
"""
