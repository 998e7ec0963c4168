"""The client of Ollama's wire against a scripted server."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.options import Options, ReasoningOptions
from appliance.domain.conversation.parts import Reasoning, Text
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import (
    ApplianceError,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContextLengthExceeded,
)
from appliance.domain.identity import Identity
from appliance.infra.dialects.ollama import OllamaClient
from appliance.infra.http.client import HttpClient
from tests.fakes.actions import Behaviour, Cut, Stall, after_chunks, split
from tests.fakes.answers import html_error, reply, reply_json
from tests.fakes.ollama_answers import (
    call,
    error_line,
    ndjson,
    no_thinking,
    ollama_chat,
    ollama_context_error,
    ollama_error,
    show,
    unknown_model,
)
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

REQUEST = ChatRequest("asked", (plain("user", "hi"),))
THINKS = replace(REQUEST, options=Options(reasoning=ReasoningOptions(enabled=True)))
WHO = Identity("trace", "thread")
MakeClient = Callable[..., OllamaClient]


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def make(server: ScriptedBackend) -> AsyncIterator[MakeClient]:
    http = HttpClient()

    def client(**fields: Any) -> OllamaClient:
        settings = {"base_url": server.url} | fields
        return OllamaClient(BackendConfig(name="local", kind="ollama", **settings), http)

    yield client
    await http.aclose()


@pytest.fixture
def client(make: MakeClient) -> OllamaClient:
    return make()


async def stream(client: OllamaClient, request: ChatRequest = REQUEST) -> list[Delta]:
    return [delta async for delta in client.stream(request, "upstream", WHO)]


def text(content: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": content}} | fields


DONE = text("", done=True, done_reason="stop")


async def test_it_speaks_its_own_dialect_alone(client: OllamaClient) -> None:
    spoken = ("openai_chat", "openai_completions", "anthropic_messages", "ollama")
    assert [dialect for dialect in spoken if client.speaks(dialect)] == ["ollama"]


async def test_once_and_stream_ask_api_chat_and_say_which(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    await client.complete(REQUEST, "upstream", WHO)
    await stream(client)
    once, streamed = server.requests
    assert once.path == streamed.path == "/api/chat"
    assert once.json == {
        "model": "upstream",
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"num_ctx": 8192},
        "truncate": False,
        "shift": False,
        "stream": False,
    }
    assert streamed.json == once.json | {"stream": True}
    assert once.headers["x-request-id"] == streamed.headers["x-request-id"] == "trace"
    assert once.headers["x-correlation-id"] == "thread"


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
async def test_a_pasted_v1_is_taken_off(
    tail: str, server: ScriptedBackend, make: MakeClient
) -> None:
    await make(base_url=server.url + tail, api_key="k").complete(REQUEST, "upstream", WHO)
    assert server.requests[0].path == "/api/chat"
    assert server.requests[0].headers["authorization"] == "Bearer k"


async def test_a_whole_answer_is_read(server: ScriptedBackend, client: OllamaClient) -> None:
    server.queue(ollama_chat("hi", thinking="hm", tool_calls=[call("add", {"a": 1})]))
    answer = await client.complete(REQUEST, "upstream", WHO)
    assert answer.first.parts[:2] == (Reasoning("hm"), Text("hi"))
    assert answer.first.tool_calls[0].arguments == '{"a":1}'
    assert (answer.first.finish_reason, answer.model) == ("tool_calls", "upstream")
    assert answer.usage == Usage(7, 2)


async def test_a_stream_is_read(server: ScriptedBackend, client: OllamaClient) -> None:
    server.queue(
        ollama_chat(("a", "b"), thinking=("h", "m"), tool_calls=[call("f", {}), call("g", {})])
    )
    deltas = await stream(client)
    assert "".join(d.reasoning for d in deltas) == "hm"
    assert "".join(d.text for d in deltas) == "ab"
    assert [step.name for d in deltas for step in d.tool_calls] == ["f", "g"]
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("tool_calls", Usage(7, 4))


async def test_any_split_of_the_bytes_gives_the_same_answer(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    behaviour = ollama_chat(("naïve", " 😀"), thinking="é", tool_calls=[call("f", {"ü": "ß"})])
    server.queue(behaviour, split(behaviour, every=1), split(behaviour, every=7))
    whole = await stream(client)
    assert await stream(client) == whole
    assert await stream(client) == whole


@pytest.mark.parametrize("ugly", [{"newline": "\r\n"}, {"newline": "\n\n"}, {"end": False}])
async def test_line_ends_may_differ_or_be_missing(
    ugly: dict[str, Any], server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ndjson(text("a"), text("b"), DONE, **ugly))
    assert "".join(d.text for d in await stream(client)) == "ab"


async def test_prompt_eval_count_missing_is_unknown(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ollama_chat("a", prompt_tokens=None), ollama_chat("a", counts=False))
    assert (await stream(client))[-1].usage == Usage(None, 1)
    assert (await stream(client))[-1].usage is None


async def test_done_reason_load_is_an_empty_answer(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ndjson(text("", done=True, done_reason="load")))
    (only,) = await stream(client)
    assert (only.finish_reason, only.text) == ("stop", "")


async def test_the_connection_is_used_again_and_what_follows_done_is_not_waited_for(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    for _ in range(3):
        await stream(client)
    assert server.connections == 1
    server.queue(after_chunks(1, Stall(), ndjson(DONE, text("late"))))
    assert [d.text for d in await stream(client)] == [""]
    await server.await_hang_up()


# -- the window


async def test_the_model_is_asked_about_once_and_its_length_is_the_limit(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.on_path("POST /api/show", show(6000))
    long = replace(REQUEST, messages=(plain("user", "word" * 5000),))
    await client.complete(REQUEST, "upstream", WHO)
    await client.complete(long, "upstream", WHO)
    assert [probe.json for probe in server.probes] == [{"model": "upstream"}]
    assert [r.json["options"]["num_ctx"] for r in server.requests] == [6000, 6000]
    too_long = replace(REQUEST, messages=(plain("user", "word" * 10_000),))
    with pytest.raises(ContextLengthExceeded):
        await client.complete(too_long, "upstream", WHO)
    assert len(server.requests) == 2


async def test_a_configured_num_ctx_is_what_is_sent(
    server: ScriptedBackend, make: MakeClient
) -> None:
    await make(num_ctx=12_345).complete(REQUEST, "upstream", WHO)
    assert server.requests[0].json["options"] == {"num_ctx": 12_345}


@pytest.mark.parametrize(
    "behaviour", [ollama_error(404, "no"), html_error(), reply(200, b"["), reply_json(200, [])]
)
async def test_a_server_that_tells_nothing_of_its_model_is_asked_all_the_same(
    behaviour: Behaviour, server: ScriptedBackend, client: OllamaClient
) -> None:
    server.on_path("POST /api/show", behaviour)
    await client.complete(REQUEST, "upstream", WHO)
    assert server.requests[0].json["options"] == {"num_ctx": 8192}


async def test_a_window_estimated_too_small_is_doubled_and_stays(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ollama_context_error(20_000, 8192), ollama_context_error(20_000, 16384))
    await stream(client)
    await client.complete(REQUEST, "upstream", WHO)
    sizes = [r.json["options"]["num_ctx"] for r in server.requests]
    assert sizes == [8192, 16384, 32768, 32768]


@pytest.mark.parametrize(
    "behaviour",
    [
        ollama_context_error(),
        ollama_error(
            400, "the prompt is longer than the context length currently available to the model"
        ),
        ollama_error(400, "the input length exceeds the context length"),
    ],
)
async def test_a_prompt_beyond_the_models_window_is_told_so(
    behaviour: Behaviour, server: ScriptedBackend, client: OllamaClient
) -> None:
    server.on_path("POST /api/show", show(8192))
    server.queue(behaviour)
    with pytest.raises(ContextLengthExceeded) as told:
        await client.complete(REQUEST, "upstream", WHO)
    assert len(server.requests) == 1
    assert "\\" not in str(told.value)


# -- thinking


async def test_a_model_that_does_not_think_is_asked_again_without(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(no_thinking(), ollama_chat("fine"))
    answer = await client.complete(THINKS, "upstream", WHO)
    assert answer.first.text == "fine"
    first, second = server.requests
    assert first.json == second.json | {"think": True}


async def test_a_model_that_refuses_for_another_reason_is_not_asked_again(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ollama_error(400, '"thinker" does not support tools'))
    with pytest.raises(BackendRefused, match="does not support tools"):
        await client.complete(THINKS, "upstream", WHO)
    assert len(server.requests) == 1


async def test_gpt_oss_gets_its_level(server: ScriptedBackend, client: OllamaClient) -> None:
    server.on_path("POST /api/show", show(arch="gptoss"))
    effort = Options(reasoning=ReasoningOptions(effort="low"))
    await client.complete(replace(REQUEST, options=effort), "upstream", WHO)
    assert server.requests[0].json["think"] == "low"


# -- failures


async def test_an_unknown_model_is_refused_with_404(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(unknown_model(), unknown_model())
    for asking in (client.complete(REQUEST, "upstream", WHO), stream(client)):
        with pytest.raises(BackendRefused, match="model 'nope' not found") as refused:
            await asking
        assert refused.value.status == 404


async def test_a_server_that_fails_keeps_its_status(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(ollama_error(500, "llama runner process has terminated"), html_error(503))
    with pytest.raises(BackendRefused, match="runner process") as refused:
        await stream(client)
    assert refused.value.status == 500
    with pytest.raises(BackendRefused, match="503"):
        await stream(client)


@pytest.mark.parametrize(
    "body", [{}, [], {"done": True}, {"message": None}, {"message": "hi"}, {"response": 5}], ids=str
)
async def test_a_body_without_a_message_is_a_protocol_error(
    body: Any, server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(reply_json(200, body))
    with pytest.raises(BackendProtocolError):
        await client.complete(REQUEST, "upstream", WHO)


async def test_an_error_line_in_a_stream_is_raised(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(
        after_chunks(1, error_line("CUDA error"), ollama_chat()),
        ndjson({"error": "prompt exceeds the context length"}),
    )
    with pytest.raises(BackendProtocolError, match="CUDA error"):
        await stream(client)
    with pytest.raises(ContextLengthExceeded):
        await stream(client)


@pytest.mark.parametrize(
    "behaviour",
    [
        ndjson(text("a")),
        after_chunks(2, Cut(), ollama_chat()),
        ndjson(text("a"), '{"message": {"cont', end=False),
        ndjson(text("a"), "not json", DONE),
        ndjson(text("a"), "[1]", DONE),
        ndjson("[" * 9999, DONE),
        ndjson(text("a", done="yes")),
        ndjson(),
        reply(200, b"<html>", "text/html"),
        reply(200, b"data: {}\n\n", "text/event-stream"),
    ],
)
async def test_a_stream_that_is_not_whole_is_a_protocol_error(
    behaviour: Behaviour, server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(behaviour)
    with pytest.raises(BackendProtocolError):
        await stream(client)


async def test_silence_is_a_timeout_and_a_closed_port_is_unavailable(
    server: ScriptedBackend, make: MakeClient
) -> None:
    server.queue(after_chunks(1, Stall(), ollama_chat()))
    with pytest.raises(BackendTimeout):
        await stream(make(read_timeout_s=0.5))
    with closed_port() as port, pytest.raises(BackendUnavailable):
        await stream(make(base_url=f"http://127.0.0.1:{port}"))


async def test_closing_a_stream_hangs_up(server: ScriptedBackend, client: OllamaClient) -> None:
    server.queue(after_chunks(1, Stall(), ollama_chat()))
    deltas = client.stream(REQUEST, "upstream", WHO)
    await anext(deltas)
    await deltas.aclose()
    await server.await_hang_up()


# -- its own dialect


OWN = ChatRequest(
    "asked",
    (Message("user", (Text("hi"),), {"role": "user", "content": "hi", "new": 1}),),
    dialect="ollama",
    params={"think": True, "keep_alive": -1, "options": {"seed": 1}},
)


async def test_a_native_request_is_carried_and_its_answer_keeps_its_source(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    answer = await client.complete(OWN, "upstream", WHO)
    assert server.requests[0].json == {
        "model": "upstream",
        "messages": [{"role": "user", "content": "hi", "new": 1}],
        "think": True,
        "keep_alive": -1,
        "options": {"num_ctx": 8192, "seed": 1},
        "stream": False,
    }
    assert answer.source is not None
    assert answer.source["total_duration"] > 0
    assert (await stream(client, OWN))[0].source is not None
    assert (await stream(client))[0].source is None


async def test_a_native_client_is_told_what_ollama_refused(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    server.queue(no_thinking(), ollama_context_error())
    for error in (BackendRefused, ContextLengthExceeded):
        with pytest.raises(error):
            await client.complete(OWN, "upstream", WHO)
    assert len(server.requests) == 2


async def test_a_raw_request_has_the_lines_and_the_body_as_they_came(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    raw = replace(OWN, raw=True)
    lines = [text("a", done=False), DONE | {"eval_count": 1}]
    server.queue(ndjson(*lines), reply_json(200, lines[1]))
    deltas = await stream(client, raw)
    assert [json.loads(delta.raw) for delta in deltas] == lines
    assert (deltas[0].text, deltas[1].usage) == ("a", Usage(None, 1))
    assert json.loads((await client.complete(raw, "upstream", WHO)).raw) == lines[1]


# -- the rest of it


async def test_a_text_is_continued_by_api_generate(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    request = replace(REQUEST, operation="text_completion", options=Options(suffix="}"))
    answer = await client.complete(request, "upstream", WHO)
    deltas = await stream(client, request)
    assert answer.first.text == "".join(d.text for d in deltas) == "Hello there, friend."
    assert {r.path for r in server.requests} == {"/api/generate"}
    assert server.requests[0].json["suffix"] == "}"


async def test_embeddings_come_in_openais_shape(
    server: ScriptedBackend, client: OllamaClient
) -> None:
    body = await client.embed(("one", "two words"), "upstream", {"dimensions": 4, "user": "x"}, WHO)
    assert server.requests[0].json == {
        "model": "upstream", "input": ["one", "two words"], "truncate": False, "dimensions": 4,
    }  # fmt: skip
    assert [row["index"] for row in body["data"]] == [0, 1]
    assert len(body["data"][0]["embedding"]) == 4
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (reply_json(200, {}), BackendProtocolError),
        (reply_json(200, {"embeddings": 5}), BackendProtocolError),
        (ollama_error(400, "the input length exceeds the context length"), ContextLengthExceeded),
    ],
)
async def test_embeddings_that_are_none_are_errors(
    behaviour: Behaviour,
    error: type[ApplianceError],
    server: ScriptedBackend,
    client: OllamaClient,
) -> None:
    server.queue(behaviour)
    with pytest.raises(error):
        await client.embed(("one",), "upstream", {})


async def test_tokens_are_not_counted(client: OllamaClient) -> None:
    assert await client.count_tokens(REQUEST, "upstream", WHO) is None
