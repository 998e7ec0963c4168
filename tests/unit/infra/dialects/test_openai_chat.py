"""The dialect client against a scripted server: what it reads of an answer, and what it refuses."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import BackendProtocolError, BackendTimeout, ContextLengthExceeded
from appliance.domain.identity import Identity
from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.http.client import HttpClient
from tests.fakes.actions import Pause, Stall, after_chunks, then
from tests.fakes.answers import chat, error_event, reply, reply_json, sse
from tests.fakes.scripted_backend import ScriptedBackend

MESSAGE = Message("user", "hi", {"role": "user", "content": "hi", "name": "ann"})
REQUEST = ChatRequest("asked", (MESSAGE,), params={"seed": 1})
WHO = Identity("trace", "thread")


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def client(server: ScriptedBackend) -> AsyncIterator[OpenAIChatClient]:
    http = HttpClient()
    config = BackendConfig(name="local", kind="vllm", base_url=server.base_url, read_timeout_s=0.5)
    yield OpenAIChatClient(config, http)
    await http.aclose()


async def stream(client: OpenAIChatClient) -> list[Delta]:
    return [delta async for delta in client.stream(REQUEST, "upstream", WHO)]


def chunk(*choices: Any, **fields: Any) -> str:
    return json.dumps({"id": "x", "model": "m", "choices": list(choices)} | fields)


def text(content: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}}


FINISH = chunk({"index": 0, "delta": {}, "finish_reason": "stop"})


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
    assert (answer.text, answer.finish_reason, answer.model) == ("hi", "tool_calls", "/m.gguf")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 1)
    assert [call["id"] for call in answer.tool_calls] == ["a"]
    assert answer.source is not None
    assert answer.source["choices"][0]["message"]["content"] == "hi"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [5]},
        {"choices": [{}]},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": {"content": "a"}}, 5]},
        {"choices": [{"message": {"content": "a"}}, {"message": "b"}]},
        {"error": {"message": "fell over"}},
        [],
    ],
    ids=str,
)
async def test_a_body_without_choices_is_a_protocol_error(
    server: ScriptedBackend, client: OpenAIChatClient, body: Any
) -> None:
    server.queue(reply_json(200, body))
    with pytest.raises(BackendProtocolError) as broken:
        await client.complete(REQUEST, "upstream", WHO)
    assert broken.value.backend == "local"


@pytest.mark.parametrize(
    "body", [{"content": None}, {"content": 5}, {"tool_calls": None}, {"tool_calls": [5]}], ids=str
)
async def test_an_answer_with_odd_fields_is_still_one(
    server: ScriptedBackend, client: OpenAIChatClient, body: Any
) -> None:
    server.queue(reply_json(200, {"choices": [{"message": body}], "usage": 5, "model": None}))
    answer = await client.complete(REQUEST, "upstream", WHO)
    assert (answer.text, answer.tool_calls, answer.usage, answer.model) == ("", (), None, "")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_read_under_both_names(
    server: ScriptedBackend, client: OpenAIChatClient, field: str
) -> None:
    server.queue(chat("hi", reasoning=["h", "m"], reasoning_field=field))
    assert "".join(d.reasoning for d in await stream(client)) == "hm"


async def test_a_chunk_keeps_everything_it_came_with(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(sse(chunk(text("a"), timings={"n": 1}), FINISH))
    first, last = await stream(client)
    assert first.source == json.loads(chunk(text("a"), timings={"n": 1}))
    assert (first.text, first.model, last.finish_reason) == ("a", "m", "stop")


async def test_of_several_choices_in_a_chunk_the_first_of_all_is_read(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    both = chunk(text("second", 1), text("first", 0))
    server.queue(sse(both, FINISH))
    (delta, _) = await stream(client)
    assert (delta.index, delta.text) == (0, "first")
    assert delta.source == json.loads(both)


@pytest.mark.parametrize(
    "odd", [chunk(5), chunk(text("a"), 5), chunk(None), "[]", "5", "{", "[" * 9999]
)
async def test_a_chunk_that_is_none_is_a_protocol_error(
    server: ScriptedBackend, client: OpenAIChatClient, odd: str
) -> None:
    server.queue(sse(chunk(text("a")), odd, FINISH))
    with pytest.raises(BackendProtocolError):
        await stream(client)


@pytest.mark.parametrize("delta", [None, "a", [], {"content": 5, "reasoning": 5, "tool_calls": 5}])
async def test_a_delta_of_another_shape_says_nothing(
    server: ScriptedBackend, client: OpenAIChatClient, delta: Any
) -> None:
    server.queue(sse(chunk({"index": None, "delta": delta}, model=5, usage=[]), FINISH))
    first = (await stream(client))[0]
    assert (first.text, first.reasoning, tuple(first.tool_calls)) == ("", "", ())
    assert (first.index, first.model, first.usage) == (0, "", None)


async def test_explicit_zeros_are_counts_and_other_types_are_unknown(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0}
    server.queue(sse(FINISH, chunk(usage=zero)), sse(FINISH, chunk(usage={"prompt_tokens": "7"})))
    for expected in ((0, 0), (None, None)):
        usage = (await stream(client))[-1].usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == expected


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
    await server.await_hang_up(timeout_s=1)


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


async def test_silence_within_a_stream_is_a_timeout(
    server: ScriptedBackend, client: OpenAIChatClient
) -> None:
    server.queue(after_chunks(1, Pause(5), chat()))
    with pytest.raises(BackendTimeout):
        await stream(client)


async def test_closing_a_stream_hangs_up(server: ScriptedBackend, client: OpenAIChatClient) -> None:
    server.queue(then(after_chunks(1, Stall(), chat())))
    deltas = client.stream(REQUEST, "upstream", WHO)
    await anext(deltas)
    await deltas.aclose()
    await server.await_hang_up(timeout_s=1)
