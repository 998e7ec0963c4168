"""Tools that are not functions, and what they go by where only functions are known."""

import json
import re
from typing import Any

import pytest

from appliance.domain.conversation.options import ToolChoice
from appliance.domain.conversation.parts import ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Delta, ToolCallDelta
from appliance.domain.errors import InvalidRequest
from appliance.presentation.json_body import MAX_TOOLS
from appliance.presentation.openai_responses import decode, encoder, output_items
from appliance.presentation.openai_responses.decode import WireResponseRequest

WEATHER = {"type": "function", "name": "weather", "description": "Tell it."}
PLAIN = {"type": "function", "name": "plain"}
ADDITIONAL = {"type": "additional_tools", "role": "developer", "tools": [PLAIN]}


def space(name: str, *tools: Any, **more: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": [*tools], **more}


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name}


def read(*tools: Any, **fields: Any) -> WireResponseRequest:
    body = {"model": "m", "input": "hi", "tools": [*tools]} | fields
    return decode(json.dumps(body).encode(), {})


def chat(*tools: Any, **fields: Any) -> ChatRequest:
    return read(*tools, **fields).continued(())


def told(*tools: Any, **fields: Any) -> list[str]:
    return [tool.name for tool in chat(*tools, **fields).options.tools]


def calling(asked: WireResponseRequest, name: str, arguments: str = "{}") -> dict[str, Any]:
    """The item a model's call of `name` goes out as."""
    write = encoder(asked, asked.continued(()), "resp_1", 0)
    write.delta(Delta(tool_calls=(ToolCallDelta(0, "c", name, arguments),)))
    write.delta(Delta(finish_reason="tool_calls"))
    (item,) = output_items(write.resource())
    return dict(item)


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("mcp__sky", "weather"),
        ("mcp__sky", "a_name_that_goes_on_and_on_until_it_is_too_long_for_anybody_there_is"),
        ("n" * 80, "weather"),
        ("mcp__sky", "weather.of:today"),
        ("météo", "weather"),
        ("sky", "__"),
    ],
)
def test_a_tool_in_a_namespace_is_called_by_a_name_every_backend_takes(
    namespace: str, name: str
) -> None:
    asked = read(space(namespace, function(name)))
    (tool,) = asked.continued(()).options.tools
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.name)
    item = calling(asked, tool.name)
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", namespace, name)
    again = chat(
        space(namespace, function(name)),
        input=[{**item, "id": "x"}, {"role": "user", "content": "?"}],
    )
    assert again.messages[0].parts == (ToolCall("c", tool.name, "{}"),)


def test_names_that_would_be_alike_are_told_apart() -> None:
    sent = [space("a", function("b__c")), space("a__b", function("c")), function("a__b__c")]
    first, second, plain = names = told(*sent)
    assert len(set(names)) == 3
    assert plain == "a__b__c", "who has no namespace keeps its name"
    asked = read(*sent)
    assert [calling(asked, name).get("namespace") for name in names] == ["a", "a__b", None]
    assert told(*sent) == [first, second, plain], "the same request says the same"


def test_names_that_are_cut_to_the_same_length_are_told_apart() -> None:
    long = "x" * 70
    assert len(set(told(space("s", function(long + "1"), function(long + "2"))))) == 2


def test_of_two_tools_alike_the_first_counts() -> None:
    tools = chat(space("s", WEATHER), space("s", {**WEATHER, "description": "no"})).options.tools
    assert [tool.description for tool in tools] == ["Tell it."]


def test_a_call_without_a_namespace_is_as_it_was() -> None:
    asked = read(PLAIN, space("s", WEATHER))
    for name in ("plain", "weather", "s__nothing"):
        assert "namespace" not in calling(asked, name)
        assert calling(asked, name)["name"] == name


def test_what_a_history_called_of_tools_that_are_gone_has_a_name_too() -> None:
    call = {
        "type": "function_call", "call_id": "c", "namespace": "s", "name": "gone", "arguments": "{}"
    }  # fmt: skip
    (message,) = chat(input=[call]).messages
    assert message.parts == (ToolCall("c", "s__gone", "{}"),)


def test_what_is_said_of_a_namespace_is_said_once() -> None:
    tools = chat(space("s", WEATHER, PLAIN, description="Cities in English.")).options.tools
    first, second = [tool.description for tool in tools]
    assert first.startswith("Tell it.\n\n")
    assert first.endswith("of s:\nCities in English.")
    assert second == ""


def test_one_tool_of_a_namespace_can_be_required() -> None:
    choice = {"type": "function", "namespace": "s", "name": "weather"}
    request = chat(PLAIN, space("s", WEATHER), tool_choice=choice)
    assert request.options.tool_choice == ToolChoice("tool", "s__weather")


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({"type": "function", "namespace": "s", "name": "weather"}, ["s__weather"]),
        ({"type": "namespace", "name": "s"}, ["s__weather", "s__plain"]),
        ({"type": "function", "name": "plain"}, ["plain"]),
        ({"type": "namespace", "name": None}, []),
        ({"type": "function", "namespace": ["s"], "name": {}}, []),
    ],
)
def test_allowed_tools_may_be_of_a_namespace(named: dict[str, Any], left: list[str]) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [named]}
    assert told(PLAIN, space("s", WEATHER, PLAIN), tool_choice=choice) == left


def test_what_else_a_namespace_has_is_named_and_not_told() -> None:
    request = chat(space("s", WEATHER, {"type": "web_search"}, space("t", PLAIN)))
    assert [tool.name for tool in request.options.tools] == ["s__weather"]
    assert request.options.hosted_tools == ("web_search", "namespace")


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "s"}]}, "tools[0].tools"),
        ({"tools": [space("s", {"type": "function"})]}, "tools[0].tools[0].name"),
        ({"tools": [space("s", {"name": "f"})]}, "tools[0].tools[0].type"),
        ({"tools": [space("s", *[PLAIN] * (MAX_TOOLS + 1))]}, "tools"),
        ({"input": [{"type": "additional_tools"}]}, "input[0].tools"),
        ({"input": [{**ADDITIONAL, "tools": [{"type": "function"}]}]}, "input[0].tools[0].name"),
    ],
)
def test_what_is_no_tool_is_refused(sent: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**sent)
    assert refused.value.param == param


def test_tools_may_come_in_the_input() -> None:
    hello = {"role": "user", "content": "hi"}
    request = chat(space("s", WEATHER), input=[ADDITIONAL, hello])
    assert [tool.name for tool in request.options.tools] == ["s__weather", "plain"]
    assert [message.role for message in request.messages] == ["user"]
    assert request.dropped == ()


def test_tools_that_came_with_an_earlier_response_are_still_there() -> None:
    """Over a WebSocket they come once."""
    asked = read(previous_response_id="resp_0")
    item = {**ADDITIONAL, "id": "at_1", "tools": [space("s", {"type": "custom", "name": "run"})]}
    call = {"type": "custom_tool_call", "call_id": "c", "namespace": "s", "name": "run"}
    request = asked.continued([item, call])
    assert [tool.name for tool in request.options.tools] == ["s__run"]
    assert request.messages[0].parts == (ToolCall("c", "s__run", '{"input":""}'),)
    write = encoder(asked, request, "resp_1", 0)
    write.delta(Delta(tool_calls=(ToolCallDelta(0, "d", "s__run", '{"input":"1"}'),)))
    write.delta(Delta(finish_reason="tool_calls"))
    (said,) = output_items(write.resource())
    assert (said["type"], said["namespace"], said["input"]) == ("custom_tool_call", "s", "1")


SEARCH = {"type": "tool_search", "execution": "client", "description": "Find tools."}


def test_a_search_for_tools_is_called_like_a_function() -> None:
    asked = read({**SEARCH, "parameters": {"type": "object"}})
    (tool,) = asked.continued(()).options.tools
    assert (tool.name, tool.description) == ("tool_search", "Find tools.")
    item = calling(asked, "tool_search", '{"query":"rain"}')
    assert (item["type"], item["execution"]) == ("tool_search_call", "client")
    assert item["arguments"] == {"query": "rain"}
    assert calling(asked, "tool_search", '{"que')["arguments"] == {}


def test_what_a_search_found_can_be_called() -> None:
    call = {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "rain"}}
    found = {"type": "tool_search_output", "call_id": "c", "tools": [space("s", WEATHER)]}
    request = chat(SEARCH, input=[call, found])
    assert [tool.name for tool in request.options.tools] == ["tool_search", "s__weather"]
    said, result = request.messages
    assert said.parts == (ToolCall("c", "tool_search", '{"query":"rain"}'),)
    assert "s__weather" in json.dumps(result.source)


def test_a_search_that_its_provider_executes_is_none_of_ours() -> None:
    request = chat({"type": "tool_search"})
    assert (request.options.tools, request.options.hosted_tools) == ((), ("tool_search",))
    items = [
        {"type": "tool_search_call", "call_id": None, "arguments": {}},
        {"type": "tool_search_output", "call_id": None, "tools": [PLAIN]},
        {"role": "user", "content": "?"},
    ]
    assert [message.role for message in chat(input=items).messages] == ["user"]
