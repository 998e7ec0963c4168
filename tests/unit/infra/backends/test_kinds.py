"""What each kind reads of a server's model list, and how it changes a request."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import BackendProtocolError, BackendRefused, BackendUnavailable
from appliance.infra.backends import BACKENDS
from appliance.infra.dialects.openai_chat import OpenAIChatClient, public_name
from appliance.infra.http.client import HttpClient
from tests.fakes.answers import html_error, reply, reply_json
from tests.fakes.scripted_backend import ScriptedBackend, closed_port


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@asynccontextmanager
async def client(kind: str, base_url: str, **fields: Any) -> AsyncIterator[OpenAIChatClient]:
    http = HttpClient()
    try:
        yield BACKENDS[kind](
            BackendConfig(name="local", kind=kind, base_url=base_url, **fields), http
        )
    finally:
        await http.aclose()


async def cards(kind: str, server: ScriptedBackend, body: Any) -> list[ModelCard]:
    server.on_path("GET /v1/models", reply_json(200, body))
    async with client(kind, server.base_url) as one:
        return await one.models()


@pytest.mark.parametrize("kind", BACKENDS)
async def test_a_plain_list_is_names_in_the_servers_order(
    kind: str, server: ScriptedBackend
) -> None:
    body = {"data": [{"id": "b"}, {"id": "org/a:7b", "object": "model"}]}
    listed = await cards(kind, server, body)
    assert [(c.name, c.upstream, c.context_window) for c in listed] == [
        ("b", "b", None),
        ("org/a:7b", "org/a:7b", None),
    ]


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize(
    "body",
    [{}, {"data": None}, {"data": 5}, {"data": "ab"}, {"data": {"id": "x"}},
     {"data": [5, None, {"id": 7}, {}, {"name": "x"}]}],
    ids=str,
)  # fmt: skip
async def test_a_list_of_another_shape_lists_nothing(
    kind: str, body: Any, server: ScriptedBackend
) -> None:
    assert await cards(kind, server, body) == []


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize(
    "path",
    ["/models/Qwen3-8B-Q4_K_M.gguf", "./Qwen3-8B-Q4_K_M.gguf", "C:\\m\\Qwen3-8B-Q4_K_M.gguf"],
)
async def test_a_file_path_is_never_a_public_name(
    kind: str, path: str, server: ScriptedBackend
) -> None:
    (card,) = await cards(kind, server, {"data": [{"id": path}]})
    assert (card.name, card.upstream) == ("Qwen3-8B-Q4_K_M", path)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("/data/models/Llama-3.1", "Llama-3.1"),
        ("~/m/x.gguf", "x"),
        ("org/model", "org/model"),
        ("qwen3:8b", "qwen3:8b"),
        ("small", "small"),
    ],
)
def test_the_public_name_of_a_path_is_its_stem(model: str, name: str) -> None:
    assert public_name(model) == name


async def test_vllm_and_llamacpp_tell_the_window(server: ScriptedBackend) -> None:
    (card,) = await cards("vllm", server, {"data": [{"id": "m", "max_model_len": 4096}]})
    assert card == ModelCard("m", "m", 4096, "vllm")
    meta = {"n_ctx": 2048, "n_ctx_train": 8192}
    (card,) = await cards("llamacpp", server, {"data": [{"id": "m", "meta": meta}]})
    assert card == ModelCard("m", "m", 2048, "llamacpp")
    for odd in ({"max_model_len": "4096"}, {"meta": None}, {"meta": {"n_ctx": None}}):
        for kind in ("vllm", "llamacpp"):
            (card,) = await cards(kind, server, {"data": [{"id": "m", **odd}]})
            assert card.context_window is None


async def test_lm_studios_embedding_models_come_last(server: ScriptedBackend) -> None:
    ids = ["text-embedding-nomic", "qwen3-8b", "llama"]
    listed = await cards("lmstudio", server, {"data": [{"id": i} for i in ids]})
    assert [c.name for c in listed] == ["qwen3-8b", "llama", "text-embedding-nomic"]


async def test_openai_gets_max_tokens_under_its_present_name(server: ScriptedBackend) -> None:
    async with client("openai", server.base_url) as one:
        assert one.parameters({"max_tokens": 5, "n": 2}) == {"max_completion_tokens": 5, "n": 2}
        both = {"max_tokens": 5, "max_completion_tokens": 7}
        assert one.parameters(both) == {"max_completion_tokens": 7}
        assert one.parameters({"n": 2}) == {"n": 2}
    async with client("vllm", server.base_url) as one:
        assert one.parameters({"max_tokens": 5}) == {"max_tokens": 5}


async def test_the_key_is_sent_when_there_is_one(server: ScriptedBackend) -> None:
    async with client("vllm", server.base_url, api_key="sk-1") as one:
        await one.models()
    async with client("vllm", server.base_url + "/") as one:
        await one.models()
    first, second = server.probes
    assert first.headers["authorization"] == "Bearer sk-1"
    assert "authorization" not in second.headers
    assert second.path == "/v1/models"


async def test_a_list_that_cannot_be_had_is_an_error_of_the_tree(server: ScriptedBackend) -> None:
    async with client("vllm", server.base_url) as one:
        server.on_path("GET /v1/models", html_error(503))
        with pytest.raises(BackendRefused, match="503"):
            await one.models()
        server.on_path("GET /v1/models", reply(200, b"<html>", "text/html"))
        with pytest.raises(BackendProtocolError, match="not JSON"):
            await one.models()
        server.on_path("GET /v1/models", reply_json(200, []))
        with pytest.raises(BackendProtocolError, match="not an object"):
            await one.models()
    with closed_port() as port:
        async with client("vllm", f"http://127.0.0.1:{port}/v1") as one:
            with pytest.raises(BackendUnavailable):
                await one.models()
