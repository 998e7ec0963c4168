"""What a client of Ollama's own wire asks reaches the server in its own words."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.parts import Image, Text
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import BackendRefused, BackendUnavailable
from appliance.domain.identity import Identity
from appliance.infra.dialects.ollama import OllamaClient
from appliance.infra.dialects.ollama.request import GENERATE, body
from appliance.infra.http.client import HttpClient
from tests.fakes.answers import reply_json
from tests.fakes.ollama_answers import ollama_embeddings, show, unknown_model
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

WHO = Identity("trace", "thread")
PROMPT = Message("user", (Text("hi"), Image("image/png", "aGk=")), {"role": "user"})


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def client(server: ScriptedBackend) -> AsyncIterator[OllamaClient]:
    http = HttpClient()
    yield OllamaClient(BackendConfig(name="local", kind="ollama", base_url=server.url), http)
    await http.aclose()


def generate(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("asked", messages, dialect=GENERATE, **fields)


def test_a_prompt_is_sent_as_one_with_its_images_and_its_own_params() -> None:
    params = {"template": "{{ .Prompt }}", "keep_alive": "5m", "options": {"mirostat": 1}}
    request = generate(plain("system", "Be terse."), PROMPT, params=params)
    assert body(request, "m", 4096, family="") == {
        "model": "m",
        "prompt": "hi",
        "system": "Be terse.",
        "images": ["aGk="],
        "template": "{{ .Prompt }}",
        "keep_alive": "5m",
        "options": {"num_ctx": 4096, "mirostat": 1},
    }


def test_knowledge_stands_before_the_prompts_own_system() -> None:
    request = generate(plain("system", "Known: x"), plain("system", "Be terse."), PROMPT)
    assert body(request, "m", 1, family="")["system"] == "Known: x\n\nBe terse."


def test_a_text_to_be_continued_keeps_its_own_words() -> None:
    params = {"raw": True, "system": "s", "suffix": ")", "images": ["eA=="]}
    request = generate(plain("user", "def f("), operation="text_completion", params=params)
    asked = body(request, "m", 4096, family="")
    assert asked == {"model": "m", "prompt": "def f(", "options": {"num_ctx": 4096}, **params}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_is_answered_by_generate(
    client: OllamaClient, server: ScriptedBackend, stream: bool
) -> None:
    request = generate(PROMPT, stream=stream)
    if stream:
        deltas = [delta async for delta in client.stream(request, "scripted", WHO)]
        assert all(delta.source is not None and "response" in delta.source for delta in deltas)
    else:
        answer = await client.complete(request, "scripted", WHO)
        assert answer.source is not None
        assert answer.first.text == answer.source["response"]
    assert server.requests[0].path == "/api/generate"


def test_both_of_its_routes_are_spoken(client: OllamaClient) -> None:
    assert client.speaks("ollama")
    assert client.speaks("ollama_generate")
    assert not client.speaks("openai_chat")


async def test_an_empty_conversation_loads(client: OllamaClient, server: ScriptedBackend) -> None:
    server.queue(reply_json(200, {"message": {"content": ""}, "done": True, "done_reason": "load"}))
    params = {"keep_alive": -1}
    request = ChatRequest("m", (), dialect="ollama", params=params)
    await client.complete(request, "scripted", WHO)
    assert server.requests[0].json["messages"] == []
    assert server.requests[0].json["keep_alive"] == -1


async def test_it_shows_a_model_and_tells_what_runs(
    client: OllamaClient, server: ScriptedBackend
) -> None:
    server.on_path("POST /api/show", show(4096))
    server.on_path("GET /api/ps", reply_json(200, {"models": [{"name": "a:latest"}, 7]}))
    assert (await client.show("a:latest"))["capabilities"] == ["completion", "tools"]
    assert await client.running() == [{"name": "a:latest"}]
    server.on_path("GET /api/ps", reply_json(200, {"models": None}))
    assert await client.running() == []
    server.on_path("POST /api/show", unknown_model())
    with pytest.raises(BackendRefused):
        await client.show("nope")


async def test_a_server_that_is_not_there_tells_nothing() -> None:
    http = HttpClient()
    with closed_port() as port:
        gone = BackendConfig(name="gone", kind="ollama", base_url=f"http://127.0.0.1:{port}")
        with pytest.raises(BackendUnavailable):
            await OllamaClient(gone, http).running()
    await http.aclose()


async def test_embedding_fields_of_its_own_wire_are_sent(
    client: OllamaClient, server: ScriptedBackend
) -> None:
    server.on_path("POST /api/embed", ollama_embeddings())
    fields = {"truncate": True, "keep_alive": "1m", "user": "ann"}
    await client.embed(["a"], "m", fields)
    asked = server.requests[-1].json
    assert asked == {"model": "m", "input": ["a"], "truncate": True, "keep_alive": "1m"}


async def test_a_listed_model_has_its_servers_row(
    client: OllamaClient, server: ScriptedBackend
) -> None:
    row = {"name": "a:latest", "size": 5}
    server.on_path("GET /api/tags", reply_json(200, {"models": [row]}))
    (card,) = await client.models()
    assert card.details == row
