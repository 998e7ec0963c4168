"""A WebSocket as a connection: who may open one, and how it ends."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.test_access import appliance
from tests.fakes.actions import Stall, after_chunks, paced
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.processes import family
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.socket_client import SocketClient, create
from tests.fakes.until import until

PAGE = "https://chat.example"
IDLE_S = 2


def refused(url: str, status: int, path: str = "", **headers: str) -> dict[str, str]:
    """The error of a connection that must not open, an HTTP response in OpenAI's shape."""
    with pytest.raises(InvalidStatus) as caught, SocketClient(url, path, **headers):
        pass
    response = caught.value.response
    assert response.status_code == status
    assert response.headers["x-request-id"]
    error: dict[str, str] = json.loads(response.body or b"")["error"]
    return error


@pytest.fixture(scope="module")
def keyed(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, str]]:
    """A gateway with keys, and one of them."""
    folder = tmp_path_factory.mktemp("keyed")
    config = (
        backend_config(backend.base_url)
        + f"""
[gateway]
keys_file = "{folder / "keys.toml"}"
[responses]
store = false
"""
    )
    gateway = GatewayProcess(folder, config)
    made = appliance(folder, "keys", "--config", str(gateway.config), "new", "laptop")
    with gateway:
        yield gateway, made.stdout.strip()


def test_another_origin_is_refused_before_the_connection_opens(gateway: GatewayProcess) -> None:
    error = refused(gateway.url, 403, Origin="https://evil.example")
    assert "allowed_origins" in error["message"]


def test_a_foreign_host_is_refused(gateway: GatewayProcess) -> None:
    assert "allowed_hosts" in refused(gateway.url, 403, Host="evil.example")["message"]


def test_the_gateways_own_page_may_connect(gateway: GatewayProcess) -> None:
    with SocketClient(gateway.url, Origin=gateway.url) as socket:
        assert socket.ask()["type"] == "response.completed"


def test_a_key_is_needed_where_there_are_some(keyed: tuple[GatewayProcess, str]) -> None:
    gateway, key = keyed
    assert refused(gateway.url, 401)["code"] == "invalid_api_key"
    assert refused(gateway.url, 401, Authorization="Bearer wrong")["code"] == "invalid_api_key"
    with SocketClient(gateway.url, Authorization=f"Bearer {key}") as socket:
        done = socket.ask()["response"]["id"]
    line = gateway.wait_log("request", trace_id=done.removeprefix("resp_"))
    assert line["status"] == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/chat/completions", 405), ("/v1/nowhere", 404), ("/healthz", 405)]
)
def test_other_paths_take_no_websocket(gateway: GatewayProcess, path: str, status: int) -> None:
    assert refused(gateway.url, status, path)["message"]


def test_without_an_upgrade_the_path_is_not_there_to_get(gateway: GatewayProcess) -> None:
    assert httpx.get(f"{gateway.url}/v1/responses").status_code == 405


@pytest.fixture(scope="module")
def closing(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that soon closes a connection without a request."""
    config = backend_config(backend.base_url)
    config += f"[responses]\nstore = false\nwebsocket_idle_s = {IDLE_S}.0\n"
    with GatewayProcess(tmp_path_factory.mktemp("closing"), config) as running:
        yield running


def test_a_connection_without_a_request_is_closed(closing: GatewayProcess) -> None:
    with SocketClient(closing.url) as socket:
        assert socket.ask()["type"] == "response.completed"
        assert socket.until_closed() == ([], 1000, f"No request for {IDLE_S} s.")


def test_a_turn_that_takes_longer_is_not_an_idle_connection(
    closing: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(paced(chat(["word "] * 12), 0.2))
    with SocketClient(closing.url) as socket:
        assert socket.ask()["type"] == "response.completed"
        assert socket.ask()["type"] == "response.completed"


@pytest.mark.parametrize("silent", [False, True], ids=["while streaming", "before the first token"])
def test_a_stopping_gateway_ends_turns_with_words_and_connections_with_a_code(
    backend: ScriptedBackend,
    silent: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    backend.forget()
    stalls = after_chunks(0, Stall(), chat()) if silent else paced(chat(["word "] * 500), 0.02)
    backend.queue(stalls)
    config = (
        backend_config(backend.base_url) + "[gateway]\ndrain_s = 0.3\n[responses]\nstore = false\n"
    )
    gateway = GatewayProcess(tmp_path_factory.mktemp("stopping"), config)
    with gateway, SocketClient(gateway.url) as idle, SocketClient(gateway.url) as busy:
        busy.send(create())
        backend.wait_request()
        if not silent:
            busy.receive()
        assert gateway.process is not None
        gateway.process.terminate()
        assert idle.until_closed() == ([], 1012, "The gateway is stopping.")
        events, code, _ = busy.until_closed()
        assert code == 1012
        last = events[-1]
        if silent:
            assert (last["type"], last["status"]) == ("error", 503)
        else:
            assert last["type"] == "response.failed"
        assert gateway.process.wait(60) == 0


def test_a_turn_whose_client_takes_nothing_until_its_time_is_over_has_failed(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend.forget()
    backend.queue(chat(["x" * 8_000] * 2_000))  # more than all buffers on its way
    config = backend_config(backend.base_url)
    config += "[gateway]\ntotal_timeout_s = 2.0\n[responses]\nstore = false\n"
    gateway = GatewayProcess(tmp_path_factory.mktemp("stuck"), config)
    with gateway, SocketClient(gateway.url) as socket:
        socket.send(create())
        line = gateway.wait_log("request", method="WEBSOCKET")
        assert (line["status"], line["error"]) == (504, "BackendTimeout")
        _, code, _ = socket.until_closed()
        assert code in (1011, 1006)  # as far as it reads on before it is cut


def test_a_killed_gateway_is_a_cut_connection(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend.forget()
    backend.queue(paced(chat(["word "] * 500), 0.02))
    config = backend_config(backend.base_url) + "[responses]\nstore = false\n"
    with GatewayProcess(tmp_path_factory.mktemp("killed"), config) as gateway:
        with SocketClient(gateway.url) as socket:
            socket.send(create())
            socket.receive()
            gateway.kill()
            assert socket.until_closed()[1] == 1006
        gateway.start()
        with SocketClient(gateway.url) as socket:
            assert socket.ask()["type"] == "response.completed"


def test_a_message_may_come_in_many_frames(gateway: GatewayProcess) -> None:
    with SocketClient(gateway.url) as socket:
        text = json.dumps(create())
        socket.line.send(text[at : at + 7] for at in range(0, len(text), 7))
        assert socket.turn()[-1]["type"] == "response.completed"


def open_sockets(gateway: GatewayProcess) -> int:
    """Of the gateway and whatever it started."""
    assert gateway.process is not None
    count = 0
    for pid in family(gateway.process.pid):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                count += os.readlink(file).startswith("socket:")
    return count


def test_connections_that_are_gone_leave_no_socket_open(gateway: GatewayProcess) -> None:
    with SocketClient(gateway.url) as socket:
        assert socket.ask()["type"] == "response.completed"
        before = open_sockets(gateway)  # one of a connection among them
    for _ in range(100):
        with SocketClient(gateway.url) as socket:
            assert socket.ask()["type"] == "response.completed"
    until(lambda: open_sockets(gateway) <= before, lambda: f"{open_sockets(gateway)} > {before}")
