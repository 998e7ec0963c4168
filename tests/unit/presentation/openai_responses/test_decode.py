import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.conversation.options import ReasoningOptions, ToolChoice
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Unknown,
)
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import ResponseRequest
from appliance.presentation.openai_responses import decode
from appliance.presentation.openai_responses.decode import WireResponseRequest

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}"}
BY_ID = {"type": "input_file", "file_id": "f"}
FTP = {"type": "input_image", "image_url": "ftp://x"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "42"}


def read(headers: dict[str, str] | None = None, **fields: Any) -> WireResponseRequest:
    return decode(json.dumps({"model": "m", "input": "hi"} | fields).encode(), headers or {})


def chat(**fields: Any) -> ChatRequest:
    return read(**fields).continued(())


def parts(*items: Any) -> list[Any]:
    return [part for message in chat(input=[*items]).messages for part in message.parts]


def of_user(*content: Any) -> list[Any]:
    return parts({"role": "user", "content": [*content]})


def test_the_plainest_request() -> None:
    request = read()
    assert (request.model, request.stream, request.store, request.background) == (
        "m",
        False,
        True,
        False,
    )
    asked = request.continued(())
    assert (asked.dialect, asked.params, asked.dropped) == ("openai_responses", {}, ())
    assert asked.signs_reasoning
    assert asked.last_user_text == "hi"


def test_no_items_are_no_mistake_of_the_wire() -> None:
    """A turn may be prepared with none; who wants an answer to it is refused by the service."""
    assert chat(input=[]).messages == ()


def test_an_item_without_an_id_gets_one_that_the_same_request_gives_again() -> None:
    sent = [{"role": "user", "content": "a"}, CALL, RESULT, {"type": "reasoning", "summary": []}]
    items = read(input=sent).items
    assert [item["id"].split("_")[0] for item in items] == ["msg", "fc", "fco", "rs"]
    assert items[1]["id"] == "fc_1"
    assert len({item["id"] for item in items}) == 4
    assert read(input=sent).items == items


def test_an_input_item_is_whole() -> None:
    (item,) = read(input="hi").items
    assert {name: item[name] for name in ("type", "role", "status", "content")} == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }


def test_what_an_assistant_thought_said_and_called_is_one_message() -> None:
    messages = chat(
        input=[
            {"role": "user", "content": "?"},
            {
                "type": "reasoning",
                "content": [{"type": "reasoning_text", "text": "t"}],
                "summary": [{"type": "summary_text", "text": "not this"}],
                "encrypted_content": "sig",
            },
            {"role": "assistant", "content": "one"},
            CALL,
            {"role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
            RESULT,
            {"role": "user", "content": "!"},
        ]
    ).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "user"]
    assert list(messages[1].parts) == [
        Reasoning("t", "sig"),
        Text("one"),
        ToolCall("a", "f", "{}"),
        Text("\n\n"),
        Text("two"),
    ]


def test_the_record_reads_messages_and_tools_in_the_words_of_chat_completions() -> None:
    request = chat(
        instructions="Be terse.",
        tools=[FUNCTION],
        input=[{"role": "developer", "content": "d"}, CALL, RESULT],
    )
    assert [message.source for message in request.messages] == [
        {"role": "system", "content": "Be terse."},
        {"role": "system", "content": "d"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "42"},
    ]
    function = {"name": "f", "parameters": {"type": "object"}}
    assert request.params["tools"] == [{"type": "function", "function": function}]


def test_a_continuation_has_the_items_before_it_and_instructions_of_its_own() -> None:
    earlier = read(input="first", instructions="not inherited").items
    answer = {"type": "message", "id": "msg_a", "role": "assistant", "status": "completed",
              "content": [{"type": "output_text", "text": "one"}]}  # fmt: skip
    asked = read(input="second", instructions="mine", previous_response_id="resp_1")
    messages = asked.continued([*earlier, answer]).messages
    assert [(m.role, m.text) for m in messages] == [
        ("system", "mine"),
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
    ]
    assert asked.previous_response_id == "resp_1"


def test_a_call_that_was_cut_is_not_continued() -> None:
    earlier = [{**CALL, "status": "incomplete", "arguments": '{"x'}]
    messages = read(input="go on", previous_response_id="resp_1").continued(earlier).messages
    assert [message.role for message in messages] == ["user"]


def test_a_reference_names_an_item_that_is_before_it() -> None:
    reference = {"type": "item_reference", "id": "fc_1"}
    assert [m.role for m in chat(input=[CALL, reference, RESULT]).messages] == ["assistant", "tool"]
    asked = read(input=[reference, RESULT], previous_response_id="resp_1")
    assert [m.role for m in asked.continued([CALL]).messages] == ["assistant", "tool"]
    with pytest.raises(InvalidRequest, match="fc_1") as failed:
        read(input=[reference, CALL]).continued(())
    assert (failed.value.param, failed.value.code) == ("input[0].id", "item_not_found")


@pytest.mark.parametrize(
    ("part", "read_as"),
    [
        ({"type": "input_text", "text": "a"}, Text("a")),
        ({"type": "text", "text": "a"}, Text("a")),
        ({"type": "refusal", "refusal": "no"}, Refusal("no")),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            Image("image/png", "AAAA", detail="low"),
        ),
        (
            {"type": "input_image", "image_url": "https://a.example/b"},
            Image(url="https://a.example/b", detail="auto"),
        ),
        (
            {"type": "input_file", "file_url": "https://a.example/b"},
            Document(url="https://a.example/b"),
        ),
        (
            {"type": "input_file", "filename": "n.txt", "file_data": "data:text/plain;base64,aGk="},
            Document("n.txt", "text/plain", "hi"),
        ),
        ({"type": "input_file", "file_data": "AAAA"}, Document(data="AAAA")),
        (BY_ID, Unknown("input_file", BY_ID)),
        ({"type": "input_audio"}, Unknown("input_audio", {"type": "input_audio"})),
    ],
)
def test_a_part_is_read_as_what_it_is(part: Any, read_as: Any) -> None:
    assert of_user(part) == [read_as]


def test_logprobs_are_asked_for_by_include_and_by_their_number() -> None:
    def asked(**fields: Any) -> tuple[Any, ...]:
        request = chat(**fields)
        options = request.options
        return options.logprobs, options.top_logprobs, request.uncarried({"logprobs"})

    include = "message.output_text.logprobs"
    assert asked() == (None, None, ())
    assert asked(top_logprobs=0) == (None, None, ())
    assert asked(include=[include]) == (True, None, ())
    assert asked(top_logprobs=2) == (True, 2, ("top_logprobs",))
    assert chat(include=[include]).dropped == ()
    assert chat(include=[include]).uncarried(()) == (f"include.{include}",)


def test_a_custom_call_is_a_call_with_one_argument() -> None:
    item = {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'x"y'}
    assert parts(item) == [ToolCall("a", "patch", '{"input":"x\\"y"}')]
    request = read(tools=[{"type": "custom", "name": "patch", "description": "d"}])
    (tool,) = request.continued(()).options.tools
    assert (tool.name, tool.parameters["required"]) == ("patch", ["input"])


def test_a_compaction_item_goes_on_as_it_is() -> None:
    (part,) = parts({"type": "compaction", "encrypted_content": "ag1.x"})
    assert (part.kind, part.source["encrypted_content"]) == ("compaction", "ag1.x")


SUMMARY = {"type": "compaction", "id": "cmp_1", "encrypted_content": "ag1.x"}
TRIGGER = {"type": "compaction_trigger"}


def test_a_summary_is_asked_for_by_the_last_item() -> None:
    hello = {"role": "user", "content": "hi"}
    assert read(input=[hello, TRIGGER]).compacts
    assert not read(input=[TRIGGER, hello]).compacts
    request = chat(input=[hello, TRIGGER])
    assert (request.last_user_text, request.dropped) == ("hi", ())


def test_a_summary_that_was_asked_for_stands_for_all_before_it_but_instructions() -> None:
    earlier = [
        {"type": "message", "id": "m1", "role": "developer", "content": "Be brief."},
        {"type": "message", "id": "m2", "role": "user", "content": "one"},
        CALL,
        {**TRIGGER, "id": "t1"},
        SUMMARY,
        {"type": "message", "id": "m3", "role": "user", "content": "two"},
        {**TRIGGER, "id": "t2"},  # which failed: nothing answered it
    ]
    request = read(input="three", previous_response_id="resp_1").continued(earlier)
    said = [(message.role, message.text) for message in request.messages]
    assert said == [("system", "Be brief."), ("system", ""), ("user", "two"), ("user", "three")]
    assert isinstance(request.messages[1].parts[0], Unknown)


def test_a_summary_nobody_asked_for_here_stands_beside_what_its_client_kept() -> None:
    kept = {"role": "user", "content": "one"}
    assert [m.text for m in chat(input=[kept, SUMMARY]).messages] == ["one", ""]


def test_what_no_backend_is_told_is_named() -> None:
    request = chat(
        tools=[FUNCTION, {"type": "web_search"}, {"type": "web_search"}],
        include=["reasoning.encrypted_content", "file_search_call.results"],
        text={"verbosity": "low"},
        reasoning={"effort": "extreme", "summary": "auto"},
        truncation="auto",
        service_tier="default",
        metadata={"a": "b"},
        store=False,
        prompt_cache_key="k",
        client_metadata={"x": 1},
        temperature=None,
        x_unheard_of=1,
        input=[{"type": "local_shell_call", "id": "l"}, {"role": "user", "content": "a"}],
    )
    assert request.dropped == (
        "x_unheard_of",
        "include.file_search_call.results",
        "input.local_shell_call",
    )
    assert sorted(request.uncarried({"tools"})) == [
        "client_metadata",
        "reasoning.effort=extreme",
        "text.verbosity",
        "tools.web_search",
        "truncation",
    ]


@pytest.mark.parametrize(
    ("choice", "meant", "offered"),
    [
        ("auto", ToolChoice("auto"), ["f", "g"]),
        ("required", ToolChoice("required"), ["f", "g"]),
        ({"type": "function", "name": "f"}, ToolChoice("tool", "f"), ["f", "g"]),
        ({"type": "custom", "name": "g"}, ToolChoice("tool", "g"), ["f", "g"]),
        ({"type": "web_search"}, ToolChoice("auto"), ["f", "g"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": "g"}]},
            ToolChoice("required"),
            ["g"],
        ),
    ],
)
def test_tool_choice(choice: Any, meant: ToolChoice, offered: list[str]) -> None:
    tools = [FUNCTION, {"type": "custom", "name": "g"}]
    options = chat(tools=tools, tool_choice=choice).options
    assert options.tool_choice == meant
    assert [tool.name for tool in options.tools] == offered


def test_reasoning_and_who_asks() -> None:
    options = chat(reasoning={"effort": "none"}, safety_identifier="s").options
    assert options.reasoning == ReasoningOptions(False, "none")
    assert options.user == "s"
    assert chat(user="u", safety_identifier="s").options.user == "u"


def test_extensions_come_as_fields_and_as_headers() -> None:
    request = read({"x-workspace": "w"}, x_route="rag").continued(())
    assert (request.extensions.route, request.extensions.workspace) == ("rag", "w")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "wizard", "content": "a"}]}, "input[0].role"),
        ({"input": [{"content": "a"}]}, "input[0].role"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{**RESULT, "call_id": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"role": "user", "content": [FTP]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "s"}}}, "text.format.schema"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"x_route": "no spaces"}, "x_route"),
        ({"previous_response_id": ""}, "previous_response_id"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_name_of_its_field(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as failed:
        read(**fields)
    assert failed.value.param == param


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
JSON = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from((
    "message", "function_call", "function_call_output", "custom_tool_call",
    "custom_tool_call_output", "reasoning", "item_reference", "compaction", "input_text",
    "input_image", "input_file", "output_text", "refusal", "function", "custom", "allowed_tools",
    "json_schema", "auto", "web_search", "namespace", "additional_tools", "compaction_trigger",
    "tool_search", "tool_search_call", "tool_search_output", "client",
))  # fmt: skip
NAMES = (
    "type", "role", "content", "id", "call_id", "name", "arguments", "input", "output", "summary",
    "encrypted_content", "text", "image_url", "file_id", "file_data", "file_url", "filename",
    "tools", "mode", "format", "schema", "status", "phase", "namespace", "description", "execution",
)  # fmt: skip
THING = st.recursive(
    JSON,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner | KINDS, max_size=6)
    ),
    max_leaves=12,
)
FIELDS = (
    "input", "instructions", "model", "stream", "store", "background", "previous_response_id",
    "include", "temperature", "top_p", "tools", "tool_choice", "text", "reasoning", "metadata",
    "user", "truncation", "max_output_tokens", "x_route", "service_tier", "top_logprobs",
    "stream_options", "parallel_tool_calls",
)  # fmt: skip


def outcome(body: bytes) -> None:
    """Any request there is, or InvalidRequest; whatever came before it."""
    with suppress(InvalidRequest):
        request = decode(body, {})
        assert isinstance(request, ResponseRequest)
        assert all(item["id"] and item["type"] for item in request.items)
        json.dumps(request.echo)
        for earlier in ((), request.items):
            msgspec.json.encode([m.source for m in request.continued(earlier).messages])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), THING, max_size=6))
def test_any_fields_are_a_request_or_refused(fields: dict[str, Any]) -> None:
    outcome(json.dumps({"input": "hi"} | fields).encode())


ITEM = st.dictionaries(st.sampled_from(NAMES), THING | KINDS, max_size=7)


@settings(max_examples=150, deadline=None)
@given(st.lists(ITEM, max_size=4))
def test_any_items_are_a_request_or_refused(items: list[Any]) -> None:
    outcome(json.dumps({"input": items}).encode())


@settings(max_examples=100, deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    outcome(body)


@pytest.mark.parametrize("inner", ['{"a":', "["])
def test_a_body_nested_too_deeply_is_refused(inner: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[inner]
    deep = inner * 100_000 + "1" + closing * 100_000
    with pytest.raises(InvalidRequest):
        decode(f'{{"input":"a","metadata":{deep}}}'.encode(), {})
