"""The routes that say the process is there."""

import falcon.asgi
import pytest
from falcon import testing

from appliance.transport.health import RootResource

JSON = {"accept": "application/json"}


def client() -> testing.TestClient:
    app: falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response] = falcon.asgi.App()
    app.add_route("/", RootResource())
    return testing.TestClient(app)


@pytest.mark.parametrize(("method", "has_body"), [("GET", True), ("HEAD", False)])
def test_the_root_answers_a_client_that_only_asks_whether_we_are_there(
    method: str, has_body: bool
) -> None:
    answer = client().simulate_request(method, "/", headers=JSON)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert bool(answer.content) is has_body


def test_the_root_says_what_each_client_takes_as_its_base_url() -> None:
    assert client().simulate_get("/", headers=JSON).json == {
        "service": "agent-gateway appliance",
        "openai": "/v1",
        "anthropic": "/",
        "ollama": "/",
        "ready": "/ready",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "ollama-python/0.6.3 (x86_64 linux) Python/3.14", "accept": "*/*"},
        {"user-agent": "ollama/0.14.0 (amd64 linux) Go/go1.25"},
        {"accept": "text/plain"},
        {"user-agent": "axios/1.7.9", "accept": "application/json, text/plain, */*"},
        {"user-agent": "curl/8.5.0", "accept": "*/*"},
        {"user-agent": "Go-http-client/1.1"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_asks_for_ollama_is_told_in_its_words(method: str, headers: dict[str, str]) -> None:
    answer = client().simulate_request(method, "/", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == ("Ollama is running" if method == "GET" else "")


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "Mozilla/5.0", "accept": "text/html,application/xhtml+xml"},
        {"user-agent": "curl/8.5.0", "accept": "application/json"},
    ],
)
def test_a_browser_and_who_wants_json_read_it_at_the_root(headers: dict[str, str]) -> None:
    answer = client().simulate_get("/", headers=headers)
    assert answer.headers["content-type"] == "application/json"
