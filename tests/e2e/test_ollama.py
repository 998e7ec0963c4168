"""Ollama's wire at a gateway in its own process, before backends of all three dialects."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import anthropic_answers as anthropic
from tests.fakes import ollama_answers as ollama
from tests.fakes.actions import Behaviour, Cut, Gate, Pause, after_chunks, before_headers
from tests.fakes.answers import chat, completion, openai_error, reply_json
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled

KEY = "homelab"
KINDS = ("openai-compatible", "anthropic", "ollama")
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CITY = {"city": "Rome"}
SAYS: dict[str, Callable[..., Behaviour]] = {
    "openai-compatible": chat,
    "anthropic": anthropic.messages,
    "ollama": ollama.ollama_chat,
}


@dataclass(frozen=True)
class Lab:
    """A gateway with a key, a backend of each kind, and a client; model `KIND` is parsed, `raw`
    handed on as it is."""

    gateway: GatewayProcess
    backends: dict[str, ScriptedBackend]
    http: httpx.Client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("ollama")
    keys = folder / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "ann"\nsha256 = "{sha256(KEY.encode()).hexdigest()}"\n')
    config = f"""
[gateway]
keys_file = "{keys}"
[routing]
retries = 0
eject_after = 100000
probe_interval_s = 3600.0
default_backend = "openai-compatible"
"""
    authorized = {"authorization": f"Bearer {KEY}"}
    with ScriptedBackend() as a, ScriptedBackend() as b, ScriptedBackend(models=["own"]) as c:
        backends = dict(zip(KINDS, (a, b, c), strict=True))
        for kind, backend in backends.items():
            url = backend.base_url if kind == "openai-compatible" else backend.url
            config += f'[[backends]]\nname = "{kind}"\nkind = "{kind}"\nbase_url = "{url}"\n'
            config += f'[[models]]\nmatch = "{kind}"\nbackend = "{kind}"\nupstream_model = "up"\n'
        config += '[[models]]\nmatch = "raw"\nbackend = "ollama"\nparsers = []\n'
        with (
            GatewayProcess(folder, config) as gateway,
            httpx.Client(base_url=gateway.url, timeout=60, headers=authorized) as http,
        ):
            yield Lab(gateway, backends, http)


@pytest.fixture
def lab(running: Lab) -> Lab:
    for backend in running.backends.values():
        backend.forget()
    return running


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.content.endswith(b"\n")
    return [json.loads(line) for line in response.content.splitlines()]


def ask(lab: Lab, model: str, **fields: Any) -> httpx.Response:
    return lab.http.post("/api/chat", json={"model": model, "messages": HI, **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_every_dialect_answers_streamed_and_once(lab: Lab, kind: str) -> None:
    backend = lab.backends[kind]
    backend.queue(SAYS[kind](["Hel", "lo"]), SAYS[kind](["Hel", "lo"]))
    told = lines(ask(lab, kind))
    assert [line["message"]["content"] for line in told] == ["Hel", "lo", ""]
    assert [line["done"] for line in told] == [False, False, True]
    assert {line["model"] for line in told} == {kind}
    once = ask(lab, kind, stream=False)
    assert once.headers["content-type"] == "application/json; charset=utf-8"
    for last in (told[-1], once.json()):
        assert last["done_reason"] == "stop"
        assert last["prompt_eval_count"] == 7
        assert last["total_duration"] > 0
    assert once.json()["message"] == {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "once"])
def test_tools_go_round_in_every_dialect(lab: Lab, kind: str, stream: bool) -> None:
    says: dict[str, Behaviour] = {
        "openai-compatible": chat("", tool_calls=[("c1", "weather", json.dumps(CITY))]),
        "anthropic": anthropic.messages("", tools=[("c1", "weather", CITY)]),
        "ollama": ollama.ollama_chat("", tool_calls=[ollama.call("weather", CITY)]),
    }
    backend = lab.backends[kind]
    backend.queue(says[kind], SAYS[kind]("Sunny."))
    response = ask(lab, kind, tools=[TOOL], stream=stream)
    told = lines(response) if stream else [response.json()]
    (call,) = [call for line in told for call in line["message"].get("tool_calls", ())]
    assert call["function"]["name"] == "weather"
    assert call["function"]["arguments"] == CITY
    assert told[-1]["done_reason"] == "stop"
    # As the Python client sends it back: the id is lost.
    sent = {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "weather", "arguments": CITY}}],
    }
    result = {"role": "tool", "tool_name": "weather", "content": "sunny"}
    again = ask(lab, kind, tools=[TOOL], messages=[*HI, sent, result], stream=False)
    assert again.json()["message"]["content"] == "Sunny."


def test_an_ollama_backend_gets_the_clients_own_words(lab: Lab) -> None:
    fields = {
        "options": {"temperature": 3, "mirostat": 1, "num_ctx": 2048},
        "keep_alive": "7m",
        "think": "high",
        "format": "json",
        "odd": {"a": [1]},
    }
    response = ask(lab, "ollama", stream=False, **fields)
    assert "x-dropped" not in response.headers
    asked = lab.backends["ollama"].requests[-1]
    assert asked.path == "/api/chat"
    assert asked.json == {"model": "up", "messages": HI, "stream": False, **fields}


def test_another_backend_gets_neutral_ones_and_the_rest_is_named(lab: Lab) -> None:
    options = {"temperature": 0.5, "num_predict": 9, "mirostat": 1, "num_ctx": 2048}
    response = ask(lab, "openai-compatible", options=options, keep_alive="7m", format="json")
    assert response.headers["x-dropped"] == "keep_alive, options.mirostat, options.num_ctx"
    asked = lab.backends["openai-compatible"].requests[0].json
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 9)
    assert asked["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "once"])
def test_raw_bytes_of_an_ollama_backend_pass(lab: Lab, stream: bool) -> None:
    whole = {"model": "odd", "message": {"content": "<think>x"}, "done": True, "odd": [1]}
    says = ollama.ndjson(whole) if stream else reply_json(200, whole)
    lab.backends["ollama"].queue(says)
    response = ask(lab, "raw", stream=stream)
    told = lines(response)[0] if stream else response.json()
    assert told == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_answered_in_its_own_shape(lab: Lab, kind: str) -> None:
    backend = lab.backends[kind]
    backend.queue(SAYS[kind](["Hel", "lo"]), SAYS[kind](["Hel", "lo"]))
    body = {"model": kind, "prompt": "hi", "system": "Be terse."}
    told = lines(lab.http.post("/api/generate", json=body))
    assert "".join(line["response"] for line in told) == "Hello"
    assert "message" not in told[0]
    once = lab.http.post("/api/generate", json={**body, "stream": False}).json()
    assert (once["response"], once["done_reason"]) == ("Hello", "stop")
    asked = backend.requests[-1]
    if kind == "ollama":
        assert asked.path == "/api/generate"
        assert (asked.json["prompt"], asked.json["system"]) == ("hi", "Be terse.")


def test_a_prompt_with_a_suffix_is_a_completion_elsewhere(lab: Lab) -> None:
    backend = lab.backends["openai-compatible"]
    backend.queue(completion("x"))
    body = {"model": "openai-compatible", "prompt": "f(", "suffix": ")", "stream": False}
    assert lab.http.post("/api/generate", json=body).json()["response"] == "x"
    asked = backend.requests[0]
    assert asked.path.endswith("/completions")
    assert (asked.json["prompt"], asked.json["suffix"]) == ("f(", ")")


def test_loading_is_answered_here_and_told_to_an_ollama_backend(lab: Lab) -> None:
    for kind in KINDS:
        for fields, reason in (({}, "load"), ({"keep_alive": 0}, "unload")):
            response = ask(lab, kind, messages=[], **fields)
            assert response.headers["content-type"] == "application/json; charset=utf-8"
            told = response.json()
            assert (told["done"], told["done_reason"]) == (True, reason)
            assert told["message"]["content"] == ""
    assert not lab.backends["openai-compatible"].requests
    assert not lab.backends["anthropic"].requests
    told = [r.json for r in lab.backends["ollama"].requests if r.path == "/api/chat"]
    assert [asked.get("keep_alive") for asked in told] == [None, 0]
    body = {"model": "openai-compatible"}
    assert lab.http.post("/api/generate", json=body).json()["response"] == ""
    assert ask(lab, "nope", messages=[]).status_code == 404


def test_a_silent_stream_is_kept_alive_by_lines_that_say_nothing(lab: Lab, tmp_path: Path) -> None:
    backend, silent = lab.backends["openai-compatible"], [threading.Event() for _ in range(2)]
    backend.queue(before_headers(Gate(silent[0]), after_chunks(1, Gate(silent[1]), chat(["a"]))))
    config = backend_config(backend.base_url)
    config += "[gateway]\nheader_hold_s = 0.1\nkeepalive_s = 0.05\n"
    told: list[dict[str, Any]] = []
    with (
        GatewayProcess(tmp_path, config) as gateway,
        httpx.stream(
            "POST", f"{gateway.url}/api/chat", json={"model": "scripted", "messages": HI}
        ) as response,
    ):
        for line in response.iter_lines():
            told.append(json.loads(line))
            for number, over in enumerate(silent):
                if len(told) == 2 * (number + 1):
                    over.set()
    assert all(over.is_set() for over in silent)
    assert all(line["done"] is False and line["created_at"] for line in told[:4])
    assert "".join(line["message"]["content"] for line in told) == "a"


def test_an_early_failure_has_its_status_and_a_late_one_is_a_line(lab: Lab) -> None:
    backend = lab.backends["openai-compatible"]
    backend.queue(openai_error(429, "slow down", "requests"))
    response = ask(lab, "openai-compatible")
    assert response.status_code == 429
    assert set(response.json()) == {"error"}
    assert "slow down" in response.json()["error"]
    backend.queue(after_chunks(2, Cut(), chat(["a", "b"])))
    response = ask(lab, "openai-compatible")
    told = lines(response)
    assert told[0]["message"]["content"] == "a"
    assert set(told[-1]) == {"error"}
    ids = response.headers["x-request-id"]
    record = wait_spooled(lab.gateway.spool, lambda record: record["trace_id"] == ids)
    assert (record["surface"], record["status"]) == ("ollama", "failed")


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/api/chat", 400, "not valid JSON"),
        ("POST", "/api/push", 403, "managed on the backends"),
        ("DELETE", "/api/delete", 403, "managed on the backends"),
        ("POST", "/api/blobs/sha256:1", 403, "managed on the backends"),
        ("GET", "/api/chat", 405, "does not answer GET"),
        ("GET", "/api/nothing", 404, "There is no GET"),
    ],
)
def test_errors_are_a_text(lab: Lab, method: str, path: str, status: int, words: str) -> None:
    response = lab.http.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert words in response.json()["error"]


def test_an_unknown_model_is_told_in_ollamas_words(lab: Lab) -> None:
    for response in (ask(lab, "nope"), lab.http.post("/api/show", json={"model": "nope"})):
        assert response.status_code == 404
        assert response.json()["error"].startswith("model 'nope' not found")


def test_without_a_key_only_the_root_answers(lab: Lab) -> None:
    with httpx.Client(base_url=lab.gateway.url) as nobody:
        refused = nobody.get("/api/tags")
        assert (refused.status_code, set(refused.json())) == (401, {"error"})
        assert nobody.get("/").text == "Ollama is running"
        assert nobody.head("/").status_code == 200


def test_the_models_are_there_by_either_name(lab: Lab) -> None:
    listed = {row["name"] for row in lab.http.get("/api/tags").json()["models"]}
    assert {"ollama:latest", "own:latest", "raw:latest"} <= listed
    for name in ("own", "own:latest"):
        assert lab.http.post("/api/show", json={"model": name}).json()["capabilities"]
        assert lab.http.get(f"/v1/models/{name}").json()["id"] == "own"
        body = {"model": name, "messages": HI}
        assert lab.http.post("/v1/chat/completions", json=body).status_code == 200
        assert ask(lab, name).status_code == 200
    assert "version" in lab.http.get("/api/version").json()
    running = reply_json(200, {"models": [{"name": "own:latest", "size_vram": 3}]})
    lab.backends["ollama"].on_path("GET /api/ps", running)
    (row,) = lab.http.get("/api/ps").json()["models"]
    assert (row["name"], row["size_vram"]) == ("own:latest", 3)


@pytest.mark.parametrize("key", ["model", "name"])
def test_a_model_that_is_there_is_pulled_at_once_and_no_other(lab: Lab, key: str) -> None:
    for name in ("own", "own:latest", "openai-compatible"):
        assert lines(lab.http.post("/api/pull", json={key: name})) == [{"status": "success"}]
    refused = lab.http.post("/api/pull", json={key: "nope"})
    assert (refused.status_code, set(refused.json())) == (403, {"error"})
    assert "managed on the backends" in refused.json()["error"]
    assert not lab.backends["ollama"].requests  # nothing was asked to pull


def test_texts_are_embedded_and_recorded(lab: Lab) -> None:
    body = {"model": "openai-compatible", "input": ["a", "b"], "keep_alive": "5m"}
    response = lab.http.post("/api/embed", json=body)
    assert len(response.json()["embeddings"]) == 2
    assert response.headers["x-dropped"] == "keep_alive"
    one = lab.http.post("/api/embeddings", json={"model": "own", "prompt": "a"})
    assert len(one.json()["embedding"]) == 8
    assert lab.backends["ollama"].requests[-1].json["truncate"] is True
    assert lab.http.post("/api/embed", json={"model": "own"}).json()["embeddings"] == []
    ids = response.headers["x-request-id"]
    record = wait_spooled(lab.gateway.spool, lambda record: record["trace_id"] == ids)
    assert record["surface"] == "ollama_embed"


def test_fields_with_odd_names_or_many_make_no_headers_of_their_own(lab: Lab) -> None:
    odd = dict.fromkeys(["a\r\nset-cookie: x=1", "né", *map(str, range(5000))])
    body = {"model": "openai-compatible", "input": "a", **odd, "last\n": 1}
    response = lab.http.post("/api/embed", json={**body, **dict.fromkeys(odd, 1)})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    dropped = response.headers["x-dropped"]
    assert dropped.startswith("a%0D%0Aset-cookie: x%3D1, n%C3%A9, 0, 1, 2")
    assert len(dropped) <= 2048


def test_a_client_that_leaves_ends_its_upstream_request(lab: Lab) -> None:
    backend = lab.backends["openai-compatible"]
    backend.queue(after_chunks(1, Pause(30), chat(["a", "b"])))
    body = {"model": "openai-compatible", "messages": HI}
    with lab.http.stream("POST", "/api/chat", json=body) as response:
        next(response.iter_raw())
    assert backend.wait_hang_up()
