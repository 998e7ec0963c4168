"""A gateway that stores nothing, and connections to it."""

from collections.abc import Iterator

import pytest

from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.socket_client import SocketClient


@pytest.fixture(scope="module")
def gateway(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config = (
        backend_config(backend.base_url)
        + """
[gateway]
max_body_bytes = 65536
drain_s = 0.5
[responses]
store = false
"""
    )
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config) as running:
        yield running


@pytest.fixture
def socket(gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[SocketClient]:
    """A connection; the backend's records start empty."""
    backend.forget()
    with SocketClient(gateway.url) as ready:
        yield ready
