import pytest

from appliance.domain.errors import ConfigError
from appliance.infra.supervise.discover import discover, named, normalised
from tests.fakes.actions import Stall, before_headers
from tests.fakes.answers import chat, reply_json
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

LIMIT_S = 30.0
NAMES = ("ollama", "lmstudio", "vllm", "llamacpp")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("https://models.example/api/v1/", "https://models.example/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_a_backend_url_is_completed(url: str, base: str) -> None:
    assert normalised(url) == base


@pytest.mark.parametrize("url", ["ftp://x", "http://", "unix:///run/x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="not a URL"):
        normalised(url)


async def test_only_servers_that_list_a_model_are_found() -> None:
    with closed_port() as closed, ScriptedBackend(models=["m"]) as full, ScriptedBackend() as empty:
        empty.models.clear()
        ports = dict.fromkeys(NAMES, closed) | {"lmstudio": empty.port, "vllm": full.port}
        found = await discover(ports, within_s=LIMIT_S)
    assert [(b.name, b.kind) for b in found] == [("vllm", "vllm")]
    assert found[0].base_url == f"http://127.0.0.1:{full.port}/v1"


async def test_ollama_is_asked_in_its_own_words_and_comes_first() -> None:
    with closed_port() as closed, ScriptedBackend() as one, ScriptedBackend() as two:
        ports = dict.fromkeys(NAMES, closed) | {"ollama": one.port, "llamacpp": two.port}
        found = await discover(ports, within_s=LIMIT_S)
        assert [probe.path for probe in one.probes] == ["/api/tags"]
    assert [(b.name, b.kind) for b in found] == [("ollama", "ollama"), ("llamacpp", "llamacpp")]
    assert found[0].base_url == f"http://127.0.0.1:{one.port}"


async def test_an_ollama_without_a_model_is_not_found() -> None:
    with closed_port() as closed, ScriptedBackend(models=()) as empty:
        ports = dict.fromkeys(NAMES, closed) | {"ollama": empty.port}
        assert await discover(ports, within_s=LIMIT_S) == []


@pytest.mark.parametrize("tail", ["", "/v1", "/"])
async def test_a_named_ollama_is_configured_by_its_root(tail: str) -> None:
    with ScriptedBackend() as backend:
        backend.on_path("GET /api/version", reply_json(200, {"version": "0.33.2"}))
        found, problem = await named(backend.url + tail)
        assert (found.kind, found.base_url, problem) == ("ollama", backend.url, None)


async def test_a_server_that_never_answers_costs_the_limit_and_is_not_found() -> None:
    with closed_port() as closed, ScriptedBackend() as slow:
        slow.on_path("GET /v1/models", before_headers(Stall(), chat()))
        assert await discover(dict.fromkeys(NAMES, closed) | {"vllm": slow.port}) == []


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("GET /props", {"default_generation_settings": {}}, "llamacpp"),
        ("GET /version", {"version": "0.11"}, "vllm"),
        ("GET /other", {}, "openai-compatible"),
    ],
)
async def test_the_kind_of_a_named_backend_is_probed(
    path: str, body: dict[str, object], kind: str
) -> None:
    with ScriptedBackend() as backend:
        backend.on_path(path, reply_json(200, body))
        found, problem = await named(f"127.0.0.1:{backend.port}")
    assert (found.name, found.kind, problem) == ("yours", kind, None)


async def test_a_named_backend_that_does_not_answer_is_used_with_a_warning() -> None:
    with closed_port() as closed:
        found, problem = await named(f"http://127.0.0.1:{closed}/v1")
    assert found.kind == "openai-compatible"
    assert problem is not None
    assert "does not answer" in problem


async def test_a_named_backend_that_wants_a_key_is_said() -> None:
    with ScriptedBackend() as backend:
        backend.on_path("GET /v1/models", reply_json(401, {"error": {"message": "no"}}))
        _, problem = await named(backend.base_url)
    assert problem is not None
    assert "wants a key" in problem
