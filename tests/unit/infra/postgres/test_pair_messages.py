"""Messages of either wire in OpenAI's shape."""

import json
from typing import Any

import pytest

from appliance.infra.postgres.pair_messages import (
    NotSayable,
    openai_calls,
    openai_messages,
    openai_tools,
)
from appliance.infra.postgres.rows import role_of, text_of

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
OPENAI: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "text", "text": "!"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    {"role": "assistant", "content": "A cat.", "name": "bot"},
    {"role": "user", "content": "Thanks"},
]
ANTHROPIC: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {}}]},
    {"role": "user", "content": "Look\n!"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "c1",
                "content": [{"type": "text", "text": "a cat"}],
            }
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    {"role": "user", "content": "Thanks"},
]


def _shaped(messages: list[dict[str, Any]]) -> list[Any]:
    """As the rows have them."""
    sent = []
    for message in messages:
        rest = {key: value for key, value in message.items() if key != "role"}
        plain = len(rest) == 1 and isinstance(rest.get("content"), str)
        sent.append((role_of(message), text_of(message.get("content")), None if plain else rest))
    return list(openai_messages(sent))


def test_both_wires_come_to_the_same() -> None:
    shaped = _shaped(OPENAI)
    assert [m["role"] for m in shaped] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    theirs = _shaped(ANTHROPIC)
    for message in (shaped[2], theirs[2]):
        (function,) = (each["function"] for each in message["tool_calls"])
        function["arguments"] = json.loads(function["arguments"])
    assert shaped == theirs
    assert shaped[2]["content"] is None


def test_what_a_user_says_beside_results_comes_after_them() -> None:
    mixed = {
        "role": "user",
        "content": [*ANTHROPIC[3]["content"], {"type": "text", "text": "and now?"}],
    }
    shaped = _shaped([*ANTHROPIC[:3], mixed])
    assert shaped[-2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "user", "content": "and now?"},
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        OPENAI[:3],  # a call nobody answered
        [*OPENAI[:2], OPENAI[3]],  # a result nobody asked for
        [*OPENAI[:3], OPENAI[5]],  # somebody speaks before the result
        OPENAI[:5],  # the response goes on with the assistant's own words
        [{"role": "function", "name": "look", "content": "a cat"}, OPENAI[5]],
        [{"role": "user", "content": [{"type": "server_tool_use", "id": "s"}]}],
        [*OPENAI[:2], {"role": "tool", "content": "a cat"}],
    ],
)
def test_what_cannot_be_said_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(NotSayable):
        _shaped(messages)


def test_definitions_of_both_wires_come_to_the_same() -> None:
    schema = {"type": "object", "properties": {}}
    function = {"name": "look", "description": "Looks.", "parameters": schema}
    ours = [{"type": "function", "function": {**function, "x": 1}}, {"type": "web_search"}]
    theirs = [
        {"name": "look", "description": "Looks.", "input_schema": schema, "cache_control": {}},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    assert openai_tools(ours) == openai_tools(theirs)
    assert openai_tools(ours) == ({"type": "function", "function": function},)
    assert openai_tools(None) == ()


@pytest.mark.parametrize("arguments", ["not json", '{"at":', "[1]", "1", "{" * 5000])
def test_a_call_that_broke_off_teaches_nothing(arguments: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    with pytest.raises(NotSayable):
        openai_calls([call])


@pytest.mark.parametrize("arguments", ["", "{}", ' {"at": [1, {"b": null}]} '])
def test_a_call_keeps_its_arguments_as_they_are(arguments: str) -> None:
    """Without any, rules.py takes it for one that was withheld."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    assert openai_calls([call]) == (call,)


@pytest.mark.parametrize("said", ["", None, [], [{"type": "thinking", "thinking": "hm"}]])
def test_an_assistant_that_says_nothing_is_refused(said: object) -> None:
    asked = {"role": "user", "content": "Look"}
    with pytest.raises(NotSayable):
        _shaped([asked, {"role": "assistant", "content": said}, asked])
