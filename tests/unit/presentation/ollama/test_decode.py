"""Requests of Ollama's wire: what is asked for, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.domain.conversation.options import ReasoningOptions, ResponseFormat
from appliance.domain.conversation.parts import Image, Text, ToolCall, ToolResult
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import InvalidRequest
from appliance.presentation.ollama import decode_chat, decode_embed, decode_generate, decode_named
from appliance.presentation.ollama.embed import decode_embeddings

PNG = "iVBORw0KGgo="
HI = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> ChatRequest:
    return decode_chat(json.dumps({"model": "m", "messages": HI, **fields}).encode(), {})


def generate(**fields: Any) -> ChatRequest:
    return decode_generate(json.dumps({"model": "m", "prompt": "hi", **fields}).encode(), {})


@pytest.mark.parametrize("ask", [chat, generate])
@pytest.mark.parametrize(("stream", "streams"), [(None, True), (True, True), (False, False)])
def test_a_request_streams_unless_it_says_not_to(
    ask: Callable[..., ChatRequest], stream: bool | None, streams: bool
) -> None:
    assert ask(stream=stream).stream is streams
    assert ask().stream is True


@pytest.mark.parametrize("limit", [-2, -1, 0, None])
def test_no_limit_is_no_limit_in_neutral_words(limit: int | None) -> None:
    assert chat(options={"num_predict": limit}).options.max_output_tokens is None


@pytest.mark.parametrize(
    ("think", "wish"),
    [
        (True, ReasoningOptions(True)),
        (False, ReasoningOptions(False)),
        ("low", ReasoningOptions(True, "low")),
        ("max", ReasoningOptions(True, "xhigh")),
        ("hard", ReasoningOptions(True)),
        ("", None),
        (None, None),
    ],
)
def test_think_is_yes_no_or_a_level(think: Any, wish: ReasoningOptions | None) -> None:
    assert chat(think=think).options.reasoning == wish


@pytest.mark.parametrize(
    ("format_", "wanted"),
    [
        ("json", ResponseFormat("json_object")),
        ({"type": "object"}, ResponseFormat("json_schema", schema={"type": "object"})),
        ("", None),
        (None, None),
    ],
)
def test_a_format_is_json_or_a_schema(format_: Any, wanted: ResponseFormat | None) -> None:
    assert chat(format=format_).options.response_format == wanted


def test_members_of_options_are_named_one_by_one_where_they_are_lost() -> None:
    options = {"temperature": 1, "num_ctx": 4096, "mirostat": 1, "top_k": 3}
    request = chat(options=options, keep_alive="5m", think=True, x_odd=1)
    assert request.uncarried({"temperature", "reasoning"}) == (
        "keep_alive",
        "options.num_ctx",
        "options.mirostat",
        "options.top_k",
    )
    assert request.params == {"options": options, "keep_alive": "5m", "think": True}
    assert request.dropped == ("x_odd",)


def test_options_that_are_null_lose_nothing() -> None:
    assert chat(options=None).uncarried(frozenset()) == ("options",)
    assert chat(options={}).uncarried(frozenset()) == ()


@pytest.mark.parametrize("ask", [decode_chat, decode_generate])
def test_a_request_with_nothing_to_answer_has_no_messages(
    ask: Callable[..., ChatRequest],
) -> None:
    for body in (b'{"model":"m"}', b'{"model":"m","messages":[],"prompt":""}'):
        assert ask(body, {}).messages == ()


def test_a_prompt_is_a_users_message_behind_its_system_prompt() -> None:
    request = generate(system="Be terse.", images=[PNG])
    assert [m.role for m in request.messages] == ["system", "user"]
    assert request.messages[1].parts == (Text("hi"), Image("image/png", PNG))
    assert request.messages[1].source == {"role": "user", "content": "hi", "images": [PNG]}
    assert (request.operation, request.dialect) == ("chat", "ollama_generate")
    assert request.params == {}


@pytest.mark.parametrize("fields", [{"raw": True}, {"suffix": ")"}])
def test_a_raw_prompt_and_one_with_a_suffix_are_continued(fields: dict[str, Any]) -> None:
    request = generate(system="Be terse.", **fields)
    assert request.operation == "text_completion"
    assert [m.text for m in request.messages] == ["hi"]
    assert request.params == {"system": "Be terse.", **fields}
    assert request.options.suffix == fields.get("suffix", "")
    assert "system" in request.uncarried({"suffix"})


def test_results_go_to_calls_by_id_by_name_or_in_their_order() -> None:
    calls: list[dict[str, Any]] = [
        {"function": {"name": n, "arguments": {}}} for n in ("a", "b", "a")
    ]
    calls.append({"id": "own", "function": {"name": "c", "arguments": '{"x":1}'}})
    results: list[dict[str, Any]] = [
        {"tool_name": "a"},
        {"tool_call_id": "own"},
        {},
        {"name": "a"},
        {"tool_name": "nobody"},
    ]
    told = [{"role": "tool", "content": "r", **result} for result in results]
    history = [*HI, {"role": "assistant", "content": "", "tool_calls": calls}, *told]
    messages = chat(messages=history).messages
    parts = messages[1].parts
    assert [p.id for p in parts if isinstance(p, ToolCall)] == ["call_1", "call_2", "call_3", "own"]
    made = [part for m in messages[2:] for part in m.parts if isinstance(part, ToolResult)]
    assert [part.call_id for part in made] == ["call_1", "own", "call_2", "call_3", "call_4"]


@pytest.mark.parametrize("data", [PNG, f"data:image/png;base64,{PNG}", "iVBORw0K\nGgo"])
def test_an_image_is_of_the_type_its_bytes_tell(data: str) -> None:
    (message,) = chat(messages=[{"role": "user", "images": [data]}]).messages
    assert message.parts == (Image("image/png", PNG),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "images": ["%%%"]}]}, "messages[0].images[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": "x"}, "messages"),
        ({"format": "yaml"}, "format"),
        ({"options": {"temperature": "warm"}}, "options.temperature"),
        ({"options": {"stop": [1]}}, "options.stop[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"stream": "yes"}, "stream"),
        ({"keep_alive": [1]}, "keep_alive"),
        ({"x_route": "../x"}, "x_route"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        chat(**fields)
    assert told.value.param == param


def test_an_image_of_a_prompt_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest) as told:
        generate(images=["%"])
    assert told.value.param == "images[0]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = [
    *("model", "messages", "prompt", "system", "suffix", "raw", "images", "options", "tools"),
    *("format", "think", "keep_alive", "stream", "template", "context", "input", "truncate"),
    *("dimensions", "name", "x_route"),
]
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["system", "user", "assistant", "tool", "x"]) | JSON,
        "content": st.text(max_size=5) | JSON,
        "thinking": st.text(max_size=3) | JSON,
        "images": st.lists(st.sampled_from([PNG, "%", ""])) | JSON,
        "tool_name": st.sampled_from(["a", "b"]) | JSON,
        "tool_call_id": st.sampled_from(["1", ""]) | JSON,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"function": st.fixed_dictionaries({"name": st.sampled_from(["a", "b"])})},
                optional={"id": st.sampled_from(["1", ""])},
            ),
            max_size=3,
        )
        | JSON,
    },
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=4)},
    optional={name: JSON for name in FIELDS if name != "messages"},
)


@pytest.mark.parametrize("read", [decode_chat, decode_generate, decode_embed, decode_embeddings])
@settings(deadline=None, max_examples=150)
@given(body=BODIES | JSON)
def test_any_body_is_read_or_refused(read: Callable[..., Any], body: Any) -> None:
    try:
        told = read(json.dumps(body).encode(), {})
    except InvalidRequest:
        return
    if isinstance(told, ChatRequest):
        assert told.uncarried(frozenset()) is not None
        results = [p for m in told.messages for p in m.parts if isinstance(p, ToolResult)]
        assert all(result.call_id for result in results)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40))
def test_any_bytes_but_an_object_are_refused_in_words(data: bytes) -> None:
    assume(not _is_object(data))
    for read in (decode_chat, decode_generate, decode_embed, decode_embeddings):
        with pytest.raises(InvalidRequest):
            read(data, {})
    with pytest.raises(InvalidRequest):
        decode_named(data)


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False
