"""Who may reach a gateway: Host and Origin without keys, keys where there are some, and CORS."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.asking import CHAT, error_of, question
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.ports import free_port
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import WAIT_S

PAGE = "https://chat.example"
ALLOWED = f"""
[gateway]
allowed_hosts = ["gateway.lan"]
allowed_origins = ["{PAGE}"]
"""


def appliance(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with a home of its own."""
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "xdg"), "XDG_CONFIG_HOME": str(folder)}
    command = [sys.executable, "-m", "appliance", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=WAIT_S)


def until(true: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def keyless(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config = backend_config(backend.base_url) + ALLOWED
    with GatewayProcess(tmp_path_factory.mktemp("keyless"), config) as running:
        yield running


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "evil.example:8080"])
@pytest.mark.parametrize("path", ["/v1/models", "/ready", "/metrics", "/nowhere"])
def test_a_foreign_host_is_refused_on_every_path(
    keyless: GatewayProcess, host: str, path: str
) -> None:
    error = error_of(httpx.get(keyless.url + path, headers={"Host": host}), 403)
    assert error["type"] == "permission_error"
    assert "allowed_hosts" in error["message"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "app.localhost", "[::1]:80", "192.168.7.7", "gateway.lan:8080"],
)
def test_loopback_names_addresses_and_listed_hosts_are_served(
    keyless: GatewayProcess, host: str
) -> None:
    assert httpx.get(f"{keyless.url}/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "https://chat.example.evil"],
)
def test_a_foreign_page_is_refused_before_anything_is_asked(
    keyless: GatewayProcess, backend: ScriptedBackend, origin: str
) -> None:
    backend.forget()
    response = httpx.post(keyless.url + CHAT, json=question(), headers={"Origin": origin})
    assert error_of(response, 403)["type"] == "permission_error"
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["x-request-id"]
    assert backend.requests == []


def test_a_listed_page_and_the_gateways_own_are_served(keyless: GatewayProcess) -> None:
    listed = httpx.post(keyless.url + CHAT, json=question(), headers={"Origin": PAGE})
    assert listed.status_code == 200
    assert listed.headers["access-control-allow-origin"] == PAGE
    assert listed.headers["vary"] == "origin"
    assert "x-request-id" in listed.headers["access-control-expose-headers"]
    own = httpx.post(keyless.url + CHAT, json=question(), headers={"Origin": keyless.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def preflight(gateway: GatewayProcess, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return httpx.options(gateway.url + CHAT, headers=headers)


def test_a_preflight_is_answered_for_listed_pages_only(keyless: GatewayProcess) -> None:
    allowed = preflight(keyless, PAGE)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert allowed.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    refused = preflight(keyless, "https://evil.example")
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


class Closed:
    """A gateway with keys; the file is made through the command line."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self.file = folder / "callers" / "keys.toml"
        config = backend_config(base_url) + ALLOWED + f'keys_file = "{self.file}"\n'
        self.gateway = GatewayProcess(folder, config)

    def keys(self, *words: str) -> subprocess.CompletedProcess[str]:
        return appliance(self._folder, "keys", "--config", str(self.gateway.config), *words)

    def new(self, name: str, *workspaces: str) -> str:
        words = [word for w in workspaces for word in ("--workspace", w)]
        made = self.keys("new", name, *words)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def get(self, path: str, token: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(self.gateway.url + path, headers=headers)

    def ask(
        self, token: str, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        return httpx.post(self.gateway.url + CHAT, json=question(**fields), headers=sent)


@pytest.fixture(scope="module")
def closed(backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    made = Closed(tmp_path_factory.mktemp("closed"), backend.base_url)
    made.new("first")
    with made.gateway:
        yield made


@pytest.fixture(scope="module")
def token(closed: Closed) -> str:
    """A key for every workspace that the gateway knows."""
    made = closed.new("ci")
    assert until(lambda: closed.get("/v1/models", made).status_code == 200)
    return made


@pytest.fixture(scope="module")
def team_token(closed: Closed) -> str:
    """A key for one workspace only."""
    made = closed.new("team-key", "team")
    assert until(lambda: closed.get("/v1/models", made).status_code == 200)
    return made


def test_a_key_is_shown_once_and_kept_as_a_hash_for_its_owner_alone(closed: Closed) -> None:
    made = closed.new("shown")
    assert made.startswith("ag-")
    text = closed.file.read_text()
    assert made not in text
    assert closed.file.stat().st_mode & 0o777 == 0o600
    listed = closed.keys("list").stdout
    assert "shown\tevery workspace" in listed
    assert made not in listed
    twice = closed.keys("new", "shown")
    assert (twice.returncode, twice.stdout) == (1, "")
    assert "already has a key named 'shown'" in twice.stderr


@pytest.mark.parametrize("name", ["a b", "", "../x", 'a"b', "a\n", "x" * 65])
def test_a_name_that_does_not_fit_the_file_is_refused(closed: Closed, name: str) -> None:
    before = closed.file.read_text()
    refused = closed.keys("new", name)
    assert refused.returncode == 1
    assert refused.stderr.startswith("appliance keys: ")
    assert closed.file.read_text() == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer ag-wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"x-api-key": "ag-wrong"},
        {"x-api-key": "\u00ff"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/nothing"])
def test_without_a_known_key_nothing_is_told(
    closed: Closed, headers: dict[str, str], path: str
) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    response = httpx.get(closed.gateway.url + path, headers=sent)  # type: ignore[arg-type]
    error = error_of(response, 401)
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


def test_bearer_and_x_api_key_are_accepted(closed: Closed, token: str) -> None:
    url = closed.gateway.url + CHAT
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"authorization": f"bearer   {token}"},
        {"x-api-key": token},
        {"Authorization": "Bearer", "x-api-key": token},
    ):
        assert httpx.post(url, json=question(), headers=headers).status_code == 200, headers


@pytest.mark.parametrize("path", ["/", "/health", "/healthz", "/ready"])
def test_health_is_open_and_metrics_are_not(closed: Closed, token: str, path: str) -> None:
    assert closed.get(path).status_code == 200
    assert closed.get("/metrics").status_code == 401
    assert closed.get("/metrics", token).status_code == 200


def test_with_keys_a_preflight_needs_none_and_any_host_is_served(
    closed: Closed, token: str
) -> None:
    assert preflight(closed.gateway, PAGE).status_code == 204
    assert preflight(closed.gateway, "https://evil.example").status_code == 401
    assert closed.ask(token, {"Host": "gateway.example"}).status_code == 200


def test_the_name_of_the_key_is_in_the_record_and_the_key_nowhere(
    closed: Closed, token: str
) -> None:
    trace_id = closed.ask(token).headers["x-request-id"]
    closed.gateway.wait_log("request", trace_id=trace_id)
    kept = b"".join(f.read_bytes() for f in closed.gateway.spool.rglob("*.seg"))
    assert b'"key_name":"ci"' in kept
    assert token.encode() not in kept
    assert all(token not in str(line) for line in closed.gateway.log)


def test_a_key_reads_its_own_workspaces_only(closed: Closed, team_token: str) -> None:
    assert closed.ask(team_token).status_code == 200, "nothing is read"
    assert error_of(closed.ask(team_token, x_route="rag"), 403)["param"] == "x_workspace"
    assert closed.ask(team_token, x_workspace="team").status_code == 200
    assert closed.ask(team_token, x_workspace="team", x_route="rag").status_code == 200
    assert closed.ask(team_token, {"x-workspace": "team"}).status_code == 200
    for response in (
        closed.ask(team_token, x_workspace="other"),
        closed.ask(team_token, {"x-workspace": "other"}),
        closed.ask(team_token, {"x-workspace": "team"}, x_workspace="other"),
        closed.ask(team_token, x_workspace="other", stream=True),
    ):
        error = error_of(response, 403)
        assert (error["type"], error["param"]) == ("permission_error", "x_workspace")


def test_a_key_added_or_removed_counts_while_the_gateway_runs(closed: Closed) -> None:
    made = closed.new("passing")
    assert until(lambda: closed.ask(made).status_code == 200)
    assert closed.keys("remove", "passing").returncode == 0
    assert until(lambda: closed.ask(made).status_code == 401)
    gone = closed.keys("remove", "passing")
    assert gone.returncode == 1
    assert "no key named 'passing'" in gone.stderr


def refused(folder: Path, *words: str) -> str:
    """What a gateway says that does not start; one sentence, exit code 1."""
    ended = appliance(folder, "run", "--role", "gateway", *words)
    assert ended.returncode == 1
    assert ended.stderr.startswith("appliance run: ")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def answers(gateway: GatewayProcess, port: int, token: str = "") -> int:
    """The status of a request to a gateway that listens on `port` of every address."""
    gateway.port, gateway.url = port, f"http://127.0.0.1:{port}"
    headers = {"x-api-key": token} if token else {}
    with gateway:
        return httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code


def test_other_addresses_than_loopback_need_keys_or_insecure(tmp_path: Path) -> None:
    port = free_port()
    listen = ("--listen", f"0.0.0.0:{port}")
    said = refused(tmp_path, *listen)
    assert "0.0.0.0 is not a loopback address" in said
    assert "appliance keys new" in said
    assert "--insecure" in said
    insecure = GatewayProcess(tmp_path, "", *listen, "--insecure")
    assert answers(insecure, port) == 200
    # What the sentence says is what helps: no other option is needed.
    made = appliance(tmp_path, "keys", "new", "me")
    assert made.returncode == 0, made.stderr
    with_keys = GatewayProcess(tmp_path, "", *listen)
    assert answers(with_keys, port, made.stdout.strip()) == 200
    assert answers(with_keys, port) == 401


def test_a_port_in_use_is_a_sentence(tmp_path: Path, keyless: GatewayProcess) -> None:
    said = refused(tmp_path, "--listen", f"127.0.0.1:{keyless.port}")
    assert f"port {keyless.port} on 127.0.0.1 is in use" in said
    assert httpx.get(f"{keyless.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[gateway]\nlistne = 1\n", ["wrong.toml", "[gateway]", "listne"]),
        (
            '[[backends]]\nname = "a"\nkind = "odd"\nbase_url = "http://x/v1"\n',
            ["'a'", "odd", "vllm"],
        ),
        ('[gateway]\nlisten = "nowhere"\n', ["'nowhere'", "HOST:PORT"]),
    ],
)
def test_a_wrong_configuration_is_a_sentence(tmp_path: Path, config: str, words: list[str]) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(config)
    said = refused(tmp_path, "--config", str(file))
    assert all(word in said for word in words), said
