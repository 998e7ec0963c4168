"""A gateway in its own process before a scripted backend: one of each for a module's tests."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend


@pytest.fixture(scope="module")
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(models=["scripted", "org/model:7b"]) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, backend_config(backend.base_url)) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[httpx.Client]:
    """A client of the gateway; the backend's records start empty."""
    backend.forget()
    with httpx.Client(base_url=gateway.url, timeout=60) as ready:
        yield ready
