"""The dialect client against a scripted server: what it reads of an answer, and what it refuses."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options
from appliance.domain.conversation.parts import Reasoning, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import (
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    ContextLengthExceeded,
    InvalidRequest,
)
from appliance.domain.identity import Identity
from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.http.client import HttpClient
from tests.fakes.actions import Pause, Stall, after_chunks, then
from tests.fakes.answers import (
    chat,
    completion,
    error_event,
    gemini_error,
    reply,
    reply_json,
    sse,
)
from tests.fakes.chat_objects import BOTH, Calls
from tests.fakes.scripted_backend import ScriptedBackend

MESSAGE = Message("user", (Text("hi"),), {"role": "user", "content": "hi", "name": "ann"})
REQUEST = ChatRequest("asked", (MESSAGE,), params={"seed": 1})
WHO = Identity("trace", "thread")


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def client(server: ScriptedBackend) -> AsyncIterator[OpenAIChatClient]:
    http = HttpClient()
    yield OpenAIChatClient(config(server), http)
    await http.aclose()


def config(server: ScriptedBackend, **fields: Any) -> BackendConfig:
    return BackendConfig(name="local", kind="vllm", base_url=server.base_url, **fields)


async def stream(client: OpenAIChatClient, request: ChatRequest = REQUEST) -> list[Delta]:
    return [delta async for delta in client.stream(request, "upstream", WHO)]


def chunk(*choices: Any, **fields: Any) -> str:
    return json.dumps({"id": "x", "model": "m", "choices": list(choices)} | fields)


def text(content: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}}


FINISH = chunk({"index": 0, "delta": {}, "finish_reason": "stop"})
ANSWER = json.dumps({"choices": [{"index": 0, "message": {"content": "a"}}], "odd": 1})


async def test_what_is_sent_is_the_request_under_the_upstream_name(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    await client.complete(REQUEST, "upstream", WHO)
    await stream(client)
    once, streamed = server.requests
    assert once.json == {"model": "upstream", "messages": [dict(MESSAGE.source)], "seed": 1}
    assert streamed.json == once.json | {"stream": True, "stream_options": {"include_usage": True}}
    assert once.headers["x-request-id"] == streamed.headers["x-request-id"] == "trace"
    assert once.headers["x-correlation-id"] == "thread"


async def test_a_whole_answer_is_read(server: ScriptedBackend, client: OpenAIChatClient) -> None:
    server.queue(chat("hi", tool_calls=[("a", "f", "{}")], model="/m.gguf"))
    answer = await client.complete(REQUEST, "upstream", WHO)
    assert answer.first.parts == (Text("hi"), ToolCall("a", "f", "{}"))
    assert (answer.first.finish_reason, answer.model) == ("tool_calls", "/m.gguf")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 1)
    assert answer.source is not None
    assert answer.source["choices"][0]["message"]["content"] == "hi"


async def test_a_body_that_is_no_answer_is_a_protocol_error(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    bodies: list[Any] = [{}, [], {"error": {"message": "fell over"}}]
    for body in bodies:
        server.queue(reply_json(200, body))
        with pytest.raises(BackendProtocolError) as broken:
            await client.complete(REQUEST, "upstream", WHO)
        assert broken.value.backend == "local"


async def test_a_request_of_another_dialect_is_translated_and_gets_no_source(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    foreign = replace(REQUEST, dialect="anthropic_messages", options=Options(max_output_tokens=9))
    answer = await client.complete(foreign, "upstream", WHO)
    deltas = await stream(client, foreign)
    assert answer.source is None
    assert all(delta.source is None for delta in deltas)
    once, streamed = server.requests
    assert once.json == {
        "model": "upstream",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 9,
    }
    assert streamed.json["max_tokens"] == 9


async def test_a_text_completion_goes_to_its_own_route(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    request = replace(
        REQUEST,
        dialect="openai_completions",
        operation="text_completion",
        params={"suffix": ")", "max_tokens": 5},
    )
    server.queue(completion(["x", " = 1"]), completion(["x", " = 1"], finish_reason="length"))
    answer = await client.complete(request, "upstream", WHO)
    deltas = await stream(client, request)
    assert answer.first.text == "".join(delta.text for delta in deltas) == "x = 1"
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["length"]
    assert deltas[0].source is not None
    assert deltas[0].source["choices"][0]["text"] == "x"
    assert deltas[-1].usage is not None
    once, streamed = server.requests
    assert once.path == streamed.path == "/v1/completions"
    assert once.json == {"model": "upstream", "prompt": "hi", "suffix": ")", "max_tokens": 5}
    assert streamed.json["stream_options"] == {"include_usage": True}


STYLES: list[Calls] = ["halves", "no_index", "whole", "object", "at_end", "legacy"]


@pytest.mark.parametrize("style", STYLES)
async def test_calls_in_every_style_say_the_same(
    server: ScriptedBackend, client: OpenAIChatClient, style: Calls
) -> None:
    script = chat((), tool_calls=[("c1", "f", '{"a":1}')], call_style=style)
    server.queue(script, script)
    (once,) = (await client.complete(REQUEST, "upstream", WHO)).first.tool_calls
    deltas = await stream(client)
    steps = [call for delta in deltas for call in delta.tool_calls]
    assert once.name == "".join(step.name for step in steps) == "f"
    assert once.arguments == "".join(step.arguments for step in steps) == '{"a":1}'
    assert {step.index for step in steps} <= {0, -1}
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["tool_calls"]


async def test_litellm_29286_text_beside_an_empty_list_of_calls_stays_text(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(chat(["a", "b"], empty_calls=True))
    deltas = await stream(client)
    assert "".join(delta.text for delta in deltas) == "ab"
    assert not any(delta.tool_calls for delta in deltas)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", BOTH])
async def test_vllm_27752_reasoning_under_either_name_or_both_is_read_once(
    server: ScriptedBackend, client: OpenAIChatClient, field: str
) -> None:
    script = chat("hi", reasoning=["h", "m"], reasoning_field=field)
    server.queue(script, script)
    assert "".join(d.reasoning for d in await stream(client)) == "hm"
    answer = await client.complete(REQUEST, "upstream", WHO)
    assert answer.first.parts == (Reasoning("hm"), Text("hi"))


async def test_litellm_37994_a_stream_without_usage_has_an_unknown_one(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(chat(usage="none"))
    assert all(delta.usage is None for delta in await stream(client))


async def test_a_stop_string_is_told_where_the_backend_tells_it(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(chat("a", stop_reason="END"))
    assert [d.stop_sequence for d in await stream(client) if d.finish_reason] == ["END"]


async def test_raw_is_what_came_without_the_chunk_of_usage(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    last = chunk(usage={"prompt_tokens": 7})
    sent = [chunk(text("a"), odd=[1, 2]), FINISH]
    server.queue(sse(*sent, last), reply_json(200, json.loads(ANSWER)))
    raw = replace(REQUEST, raw=True)
    deltas = await stream(client, raw)
    assert [delta.raw for delta in deltas] == [*(one.encode() for one in sent), b""]
    assert [delta.text for delta in deltas] == ["a", "", ""]
    assert deltas[-1].usage is not None
    answer = await client.complete(raw, "upstream", WHO)
    assert json.loads(answer.raw) == json.loads(ANSWER)


async def test_a_body_nested_as_deep_as_can_be_read_is_the_callers_mistake(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidRequest, match="deeply"):
        await client.complete(replace(REQUEST, params={"odd": deep}), "upstream", WHO)
    assert server.requests == []


async def test_a_stream_ends_at_done_or_after_its_finish_reason_and_not_before(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(
        sse(chunk(text("a")), FINISH, chunk(usage={"prompt_tokens": 1})),
        sse(FINISH, done=False),
        sse(chunk(text("a")), done=False),
    )
    assert len(await stream(client)) == 3
    assert len(await stream(client)) == 1
    with pytest.raises(BackendProtocolError, match="before the answer was whole"):
        await stream(client)


async def test_a_line_kept_open_after_done_does_not_hold_the_answer_up(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(after_chunks(2, Stall(), sse(FINISH)))
    assert len(await stream(client)) == 1
    await server.await_hang_up()


async def test_it_speaks_both_of_openais_chat_wires(client: OpenAIChatClient) -> None:
    spoken = ("openai_chat", "openai_completions", "anthropic_messages", "ollama")
    assert [client.speaks(dialect) for dialect in spoken] == [True, True, False, False]


async def test_the_connection_is_used_again_after_a_whole_stream(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    for _ in range(3):
        await stream(client)
    assert server.connections == 1


async def test_a_stream_request_answered_with_json_is_a_protocol_error(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(reply(200, b"{}"))
    with pytest.raises(BackendProtocolError, match="application/json"):
        await stream(client)


async def test_errors_in_band_are_raised(server: ScriptedBackend, client: OpenAIChatClient) -> None:
    long = error_event("too long", code="context_length_exceeded")
    server.queue(after_chunks(1, error_event("fell over"), chat()), after_chunks(1, long, chat()))
    with pytest.raises(BackendProtocolError, match="fell over"):
        await stream(client)
    with pytest.raises(ContextLengthExceeded):
        await stream(client)


async def test_an_error_body_in_a_list_is_read(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(gemini_error(429, "Quota exceeded", retry_delay="34s"))
    with pytest.raises(BackendRefused, match="Quota exceeded") as refused:
        await stream(client)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 34.0)


async def test_silence_within_a_stream_is_a_timeout(server: ScriptedBackend) -> None:
    server.queue(after_chunks(1, Pause(60), chat()))
    http = HttpClient()
    with pytest.raises(BackendTimeout):
        await stream(OpenAIChatClient(config(server, read_timeout_s=0.5), http))
    await http.aclose()


async def test_closing_a_stream_hangs_up(server: ScriptedBackend, client: OpenAIChatClient) -> None:
    server.queue(then(after_chunks(1, Stall(), chat())))
    deltas = client.stream(REQUEST, "upstream", WHO)
    await anext(deltas)
    await deltas.aclose()
    await server.await_hang_up()
