"""The client of Anthropic's wire against a scripted server: what it sends, reads and refuses."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.options import Options, ReasoningOptions, Tool
from appliance.domain.conversation.parts import Reasoning, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Choice, Delta
from appliance.domain.errors import (
    ApplianceError,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContextLengthExceeded,
    InvalidRequest,
)
from appliance.domain.identity import Identity
from appliance.infra.dialects.anthropic import AnthropicClient
from appliance.infra.http.client import HttpClient
from tests.fakes.actions import Behaviour, Cut, Stall, after_chunks, alone, split
from tests.fakes.answers import broken_json, html_error, reply_json
from tests.fakes.anthropic_answers import (
    SIGNATURE,
    STATUSES,
    anthropic_error,
    counted,
    error_event,
    events,
    messages,
    model_pages,
    model_row,
    prompt_too_long,
)
from tests.fakes.scripted_backend import ScriptedBackend

REQUEST = ChatRequest("asked", (plain("user", "hi"),))
SOURCE = {"role": "user", "content": "hi"}
OWN = ChatRequest(
    "asked",
    (Message("user", (Text("hi"),), SOURCE),),
    dialect="anthropic_messages",
    params={"max_tokens": 5},
)
RAW = replace(OWN, raw=True)
WHO = Identity("trace", "thread")
CALL = ("toolu_1", "read", {"path": "naïve"})


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., AnthropicClient]]:
    http = HttpClient()

    def client(url: str, **fields: Any) -> AnthropicClient:
        config = BackendConfig(name="claude", kind="anthropic", base_url=url, api_key="k", **fields)
        return AnthropicClient(config, http)

    yield client
    await http.aclose()


@pytest.fixture
def client(server: ScriptedBackend, connect: Callable[..., AnthropicClient]) -> AnthropicClient:
    return connect(server.base_url)


async def stream(client: AnthropicClient, request: ChatRequest = REQUEST) -> list[Delta]:
    return [delta async for delta in client.stream(request, "upstream", WHO)]


def collected(deltas: list[Delta]) -> Choice:
    collector = Collector()
    collector.add(deltas)
    return collector.choices[0]


async def both(
    server: ScriptedBackend, client: AnthropicClient, behaviour: Behaviour
) -> tuple[Choice, Choice]:
    """The same answer once and streamed."""
    server.queue(behaviour, behaviour)
    once = (await client.complete(REQUEST, "upstream", WHO)).first
    return once, collected(await stream(client))


# -- the request


async def test_it_speaks_its_own_dialect_alone(client: AnthropicClient) -> None:
    spoken = ("openai_chat", "openai_completions", "anthropic_messages", "ollama")
    assert [dialect for dialect in spoken if client.speaks(dialect)] == ["anthropic_messages"]


async def test_the_request_has_the_key_the_version_and_our_ids(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    await client.complete(REQUEST, "upstream", WHO)
    (asked,) = server.requests
    assert asked.path == "/v1/messages"
    assert asked.json["model"] == "upstream"
    assert "stream" not in asked.json
    assert asked.headers["x-api-key"] == "k"
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.headers["x-request-id"] == "trace"
    assert asked.headers["x-correlation-id"] == "thread"
    assert "authorization" not in asked.headers


async def test_versions_and_betas_of_a_client_of_this_dialect_are_sent_along(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    asked = {"anthropic-beta": "a-1,b-2", "anthropic-version": "2026-10-21", "x-api-key": "theirs"}
    await stream(client, replace(OWN, wire_headers=asked))
    await stream(client, replace(REQUEST, wire_headers=asked))
    own, foreign = (request.headers for request in server.requests)
    assert (own["anthropic-beta"], own["anthropic-version"]) == ("a-1,b-2", "2026-10-21")
    assert own["x-api-key"] == "k"
    assert foreign["anthropic-version"] == "2023-06-01"
    assert "anthropic-beta" not in foreign


async def test_its_own_dialect_is_sent_unchanged(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    await stream(client, OWN)
    told = {"model": "upstream", "max_tokens": 5, "messages": [SOURCE], "stream": True}
    assert server.requests[0].json == told


async def test_a_base_url_without_a_path_means_v1(
    server: ScriptedBackend, connect: Callable[..., AnthropicClient]
) -> None:
    for base in (server.url, f"{server.url}/", f"{server.url}/v1", f"{server.url}/proxy/v1/"):
        await connect(base).complete(REQUEST, "m", WHO)
    paths = [request.path for request in server.requests]
    assert paths == ["/v1/messages"] * 3 + ["/proxy/v1/messages"]


# -- the answer


async def test_text_is_the_same_once_and_streamed(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    once, streamed = await both(server, client, messages(["Hel", "lo"]))
    assert once == streamed == Choice(0, (Text("Hello"),), "stop")


async def test_tools_are_the_same_once_and_streamed(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    second: tuple[str, str, dict[str, Any]] = ("toolu_2", "now", {})
    once, streamed = await both(server, client, messages("hm", tools=[CALL, second]))
    assert [json.loads(call.arguments or "{}") for call in streamed.tool_calls] == [CALL[2], {}]
    for choice in (once, streamed):
        assert [(call.id, call.name) for call in choice.tool_calls] == [CALL[:2], second[:2]]
        assert choice.finish_reason == "tool_calls"
        assert choice.text == "hm"
    assert [json.loads(call.arguments) for call in once.tool_calls] == [CALL[2], {}]


async def test_thinking_keeps_its_signature(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    once, streamed = await both(
        server, client, messages("a", thinking=["let ", "me"], redacted="xx")
    )
    thought = (Reasoning("let me", SIGNATURE), Reasoning(redacted="xx"), Text("a"))
    assert once == streamed == Choice(0, thought, "stop")


async def test_harness_sdk_2704_a_signature_without_text_is_reasoning(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    once, streamed = await both(server, client, messages("a", thinking=[""]))
    assert once == streamed == Choice(0, (Reasoning("", SIGNATURE), Text("a")), "stop")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("of_a_later_day", "stop"),
    ],
)
async def test_stop_reasons(
    server: ScriptedBackend, client: AnthropicClient, reason: str, finish: str
) -> None:
    stop = "END" if reason == "stop_sequence" else None
    once, streamed = await both(
        server, client, messages("a", stop_reason=reason, stop_sequence=stop)
    )
    assert once == streamed
    assert (once.finish_reason, once.stop_sequence) == (finish, stop)


async def test_litellm_34692_an_answer_with_a_call_ended_for_it(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    once, streamed = await both(server, client, messages("", tools=[CALL], stop_reason="end_turn"))
    assert once.finish_reason == streamed.finish_reason == "tool_calls"


async def test_litellm_25321_arguments_given_whole_at_the_start_are_not_lost(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    server.queue(messages("", tools=[CALL, CALL], inputs_at_start=True))
    calls = collected(await stream(client)).tool_calls
    assert [json.loads(call.arguments) for call in calls] == [CALL[2], CALL[2]]


async def test_arguments_given_at_the_start_and_again_in_pieces_count_once(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    piece = {"type": "input_json_delta", "partial_json": '{"a": 1}'}
    server.queue(
        events(
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": piece},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        )
    )
    (call,) = collected(await stream(client)).tool_calls
    assert call == ToolCall("t", "f", '{"a": 1}')


async def test_a_name_that_was_made_fit_comes_back_as_the_clients(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    request = replace(REQUEST, options=Options(tools=(Tool("fs.read"),)))
    await stream(client, request)
    fit = server.requests[0].json["tools"][0]["name"]
    assert fit != "fs.read"
    server.queue(*[messages("", tools=[("t", fit, {})])] * 2)
    once = (await client.complete(request, "upstream", WHO)).first
    streamed = collected(await stream(client, request))
    assert once.tool_calls[0].name == streamed.tool_calls[0].name == "fs.read"


# -- usage


@pytest.mark.parametrize("usage_at_end", [False, True])
async def test_litellm_31069_input_tokens_include_the_cache_and_the_end_replaces_the_start(
    server: ScriptedBackend, client: AnthropicClient, usage_at_end: bool
) -> None:
    behaviour = messages(
        ["a", "b"], input_tokens=7, cache_read=100, cache_write=20, usage_at_end=usage_at_end
    )
    server.queue(behaviour, behaviour)
    once = (await client.complete(REQUEST, "upstream", WHO)).usage
    (streamed,) = (d.usage for d in await stream(client) if d.usage is not None)
    for usage in (once, streamed):
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (127, 2)
        assert (usage.cache_read_tokens, usage.cache_write_tokens) == (100, 20)
        assert usage.source["cache_read_input_tokens"] == 100


async def test_usage_nobody_told_is_unknown_and_zero_is_zero(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    server.queue(events(end), events(end | {"usage": {"input_tokens": 0, "output_tokens": None}}))
    (nothing,) = await stream(client)
    assert nothing.usage is None
    (zero,) = await stream(client)
    assert zero.usage is not None
    assert (zero.usage.input_tokens, zero.usage.output_tokens) == (0, None)


async def test_tokens_of_thinking_are_part_of_the_output(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    usage = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    server.queue(events(end))
    (delta,) = await stream(client)
    assert delta.usage is not None
    assert (delta.usage.output_tokens, delta.usage.reasoning_tokens) == (9, 4)


# -- source


async def test_sources_are_there_for_its_own_dialect_alone(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    behaviour = messages("a", thinking="t", tools=[CALL])
    server.queue(behaviour, behaviour, behaviour, behaviour)
    own, foreign = await stream(client, OWN), await stream(client)
    assert all(delta.source is None for delta in foreign)
    told = [delta.source["type"] for delta in own if delta.source]
    assert {told[0], told[-1]} == {"message_start", "message_stop"}
    assert "ping" in told
    assert collected(own) == collected(foreign)
    answer = await client.complete(OWN, "upstream", WHO)
    assert answer.source is not None
    assert answer.source["content"][0]["signature"] == SIGNATURE
    assert (await client.complete(REQUEST, "upstream", WHO)).source is None


async def test_a_block_we_have_no_word_for_is_content_for_its_own_dialect(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}
    behaviour = messages("found", blocks=[search])
    server.queue(behaviour, behaviour, behaviour)
    own = await stream(client, OWN)
    first = next(delta for delta in own if delta.has_content)
    assert first.source == {"type": "content_block_start", "index": 0, "content_block": search}
    foreign = await stream(client)
    assert not any(delta.tool_calls for delta in (*own, *foreign))
    assert collected(foreign) == Choice(0, (Text("found"),), "stop")
    answer = await client.complete(OWN, "upstream", WHO)
    assert answer.first.parts[0].source == search


# -- raw


async def test_raw_frames_are_the_stream_and_the_first_content_brings_what_came_before_it(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    behaviour = messages(["a", "b"], thinking="t", tools=[CALL])
    server.queue(behaviour, behaviour)
    deltas = await stream(client, RAW)
    kept = deltas[next(n for n, delta in enumerate(deltas) if delta.has_content) :]
    sent = behaviour(server.requests[0])
    whole = b"".join(getattr(action, "data", b"") for action in sent)
    assert b"".join(delta.raw for delta in kept) == whole
    assert all(delta.raw for delta in kept)
    assert collected(deltas) == collected(await stream(client))
    assert next(delta.model for delta in deltas if delta.model) == "upstream"
    assert any(delta.usage for delta in deltas)


async def test_a_raw_answer_is_the_body(server: ScriptedBackend, client: AnthropicClient) -> None:
    answer = await client.complete(RAW, "upstream", WHO)
    assert json.loads(answer.raw) == answer.source
    assert answer.first.text == "Hello there, friend."


# -- the end of a stream, whole or not


async def test_a_stream_without_message_stop_is_whole_after_a_stop_reason(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    server.queue(events(text, end), events(text))
    assert collected(await stream(client)).finish_reason == "stop"
    with pytest.raises(BackendProtocolError, match="before the answer was whole"):
        await stream(client)


async def test_message_stop_without_a_reason_is_a_stop(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    server.queue(events({"type": "message_stop"}))
    assert collected(await stream(client)).finish_reason == "stop"


async def test_the_connection_is_kept_after_a_stream(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    await stream(client)
    await stream(client)
    assert server.connections == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_names_may_be_missing_and_a_done_may_follow(
    server: ScriptedBackend, client: AnthropicClient, newline: str
) -> None:
    text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    server.queue(events(text, end, newline=newline, named=False))
    assert collected(await stream(client)) == Choice(0, (Text("a"),), "stop")


async def test_a_stream_cut_into_single_bytes_is_the_same(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    behaviour = messages("naïve 🙂", thinking="ü", tools=[CALL])
    server.queue(behaviour, split(behaviour, every=1, pause_s=0))
    assert collected(await stream(client)) == collected(await stream(client))


# -- failures


@pytest.mark.parametrize("kind", STATUSES)
async def test_an_error_before_the_stream_keeps_its_status_and_type(
    server: ScriptedBackend, client: AnthropicClient, kind: str
) -> None:
    server.queue(anthropic_error(kind, "no such luck", retry_after="3"))
    with pytest.raises(BackendRefused, match="no such luck") as refused:
        await stream(client)
    assert (refused.value.status, refused.value.kind) == (STATUSES[kind], kind)
    assert refused.value.retry_after_s == 3


@pytest.mark.parametrize("kind", STATUSES)
@pytest.mark.parametrize("after", [1, 4])
async def test_an_error_event_has_the_status_its_type_means(
    server: ScriptedBackend, client: AnthropicClient, kind: str, after: int
) -> None:
    server.queue(after_chunks(after, error_event(kind, "Overloaded"), messages()))
    with pytest.raises(BackendRefused, match="Overloaded") as refused:
        await stream(client)
    assert (refused.value.status, refused.value.kind) == (STATUSES[kind], kind)


@pytest.mark.parametrize("request_", [REQUEST, OWN, RAW])
async def test_an_error_event_of_no_known_type_is_a_protocol_error(
    server: ScriptedBackend, client: AnthropicClient, request_: ChatRequest
) -> None:
    for error in ({"type": "error", "error": None}, {"type": "error", "error": {"type": "odd"}}):
        server.queue(events(error))
        with pytest.raises(BackendProtocolError):
            await stream(client, request_)


@pytest.mark.parametrize(
    "behaviour",
    [
        prompt_too_long(),
        anthropic_error(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, "
            "decrease input length or `max_tokens` and try again",
        ),
        after_chunks(1, error_event("invalid_request_error", "prompt is too long: 9"), messages()),
    ],
)
async def test_a_prompt_that_is_too_long_is_told_as_such(
    server: ScriptedBackend, client: AnthropicClient, behaviour: Behaviour
) -> None:
    server.queue(behaviour)
    with pytest.raises(ContextLengthExceeded):
        await stream(client)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (alone(Cut()), BackendUnavailable),
        (after_chunks(3, Cut(), messages()), BackendProtocolError),
        (html_error(502), BackendRefused),
        (reply_json(200, {"type": "message"}), BackendProtocolError),
        (broken_json(), BackendProtocolError),
    ],
)
async def test_a_server_that_fails_is_told_in_our_words(
    server: ScriptedBackend,
    client: AnthropicClient,
    behaviour: Behaviour,
    error: type[ApplianceError],
) -> None:
    server.queue(behaviour)
    with pytest.raises(error):
        await stream(client)


async def test_silence_within_a_stream_is_a_timeout(
    server: ScriptedBackend, connect: Callable[..., AnthropicClient]
) -> None:
    server.queue(after_chunks(3, Stall(), messages()))
    with pytest.raises(BackendTimeout):
        await stream(connect(server.base_url, read_timeout_s=0.5))


@pytest.mark.parametrize(
    "body",
    [[], {}, {"content": None}, {"content": 5}, {"content": [5]}, {"error": {"type": "odd"}}],
    ids=str,
)
async def test_a_body_without_content_is_a_protocol_error(
    server: ScriptedBackend, client: AnthropicClient, body: Any
) -> None:
    server.queue(reply_json(200, body))
    with pytest.raises(BackendProtocolError):
        await client.complete(REQUEST, "upstream", WHO)


async def test_leaving_a_stream_hangs_up_at_once(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    server.queue(after_chunks(4, Stall(), messages()))
    deltas = client.stream(REQUEST, "upstream", WHO)
    assert await anext(deltas) is not None
    await deltas.aclose()
    await server.await_hang_up()


# -- models, counts, embeddings


async def test_models_are_read_page_by_page(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    first = [model_row("a b", max_input_tokens=200000, max_tokens=4096), model_row("c")]
    server.on_path("GET /v1/models", model_pages(first[:1], first[1:]))
    cards = await client.models()
    assert [(card.name, card.context_window) for card in cards] == [("a b", 200000), ("c", None)]
    assert server.probes[0].headers["anthropic-version"] == "2023-06-01"
    assert server.probes[1].path == "/v1/models?limit=1000&after_id=a%20b"


async def test_pages_without_an_end_are_not_read_for_ever(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    page = {"data": [model_row("a"), 5, {"id": ""}], "has_more": True, "last_id": "a"}
    server.on_path("GET /v1/models", reply_json(200, page))
    assert [card.name for card in await client.models()] == ["a"]


async def test_what_the_list_says_of_a_model_shapes_its_requests(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    types = {"adaptive": {"supported": True}, "enabled": {"supported": False}}
    able = {"thinking": {"supported": True, "types": types}}
    server.on_path("GET /v1/models", model_pages([model_row("upstream", capabilities=able)]))
    options = Options(reasoning=ReasoningOptions(effort="high"), temperature=0.1)
    request = replace(REQUEST, options=options)
    await stream(client, request)
    await client.models()
    await stream(client, request)
    before, after = (asked.json for asked in server.requests)
    assert before["thinking"]["type"] == "enabled"
    assert after["thinking"]["type"] == "adaptive"
    assert after["output_config"] == {"effort": "high"}
    assert "temperature" not in after


async def test_tokens_are_counted_by_the_server(
    server: ScriptedBackend, client: AnthropicClient
) -> None:
    server.queue(counted(42), reply_json(200, {}), anthropic_error("not_found_error"))
    assert await client.count_tokens(REQUEST, "upstream", WHO) == 42
    assert server.requests[0].path == "/v1/messages/count_tokens"
    assert server.requests[0].json.keys() == {"model", "messages"}
    assert await client.count_tokens(REQUEST, "upstream", WHO) is None
    with pytest.raises(BackendRefused):
        await client.count_tokens(REQUEST, "upstream", WHO)


async def test_there_are_no_embeddings(client: AnthropicClient) -> None:
    with pytest.raises(InvalidRequest, match="no embeddings"):
        await client.embed(["a"], "m", {}, WHO)
