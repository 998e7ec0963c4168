"""Real clients, a gateway in its own process, and a scripted backend behind it."""

import os
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.clients.scenarios import play
from tests.fakes.agents import CODE_MODEL, MODEL, OPENAIS_MODEL, SMALL_MODEL, Workspace
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.node import OPT_OUT, Node
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer


@pytest.fixture(scope="session")
def node() -> Node:
    """Node with the pinned packages; a machine that cannot have them fails, unless it opted out."""
    if os.environ.get(OPT_OUT) == "1":
        pytest.skip(f"{OPT_OUT}=1: no JavaScript client was tried")
    return Node.provide()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="package")
def running_backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        play(running)
        running.models += [MODEL, SMALL_MODEL, OPENAIS_MODEL, CODE_MODEL]
        running.models += ["agent", "after-tools", "endless", "vectors"]
        yield running


@pytest.fixture
def backend(running_backend: ScriptedBackend) -> ScriptedBackend:
    """The backend, with nothing queued and nothing recorded."""
    running_backend.forget()
    return running_backend


@pytest.fixture(scope="package")
def gateway(
    running_backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, backend_config(running_backend.base_url)) as running:
        yield running


@pytest.fixture(scope="package")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="package")
def storing_gateway(
    running_backend: ScriptedBackend,
    nats: NatsServer,
    postgres_cluster: Cluster,
    migrated: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    """One that keeps responses: it has PostgreSQL and NATS."""
    folder = tmp_path_factory.mktemp("storing")
    (folder / "dsn").write_text(postgres_cluster.create_database(migrated))
    (folder / "token").write_text(nats.config.token)
    config = backend_config(running_backend.base_url)
    config += f'[nats]\nurl = "{nats.config.url}"\ntoken = "file:{folder / "token"}"\n'
    config += f'[postgres]\ndsn = "file:{folder / "dsn"}"\n'
    with GatewayProcess(folder, config) as running:
        yield running


@pytest.fixture
def api(storing_gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    """OpenAI's client of a gateway that keeps responses."""
    url = f"{storing_gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0, timeout=60) as client:
        yield client
