"""What the clients of other wires make of a Responses request."""

import json
from typing import Any

from appliance.domain.conversation.request import ChatRequest
from appliance.infra.dialects.anthropic.turns import Blocks, turns
from appliance.infra.dialects.openai_chat.request import asked
from appliance.infra.dialects.openai_chat.traits import Traits
from appliance.infra.dialects.tool_names import ToolNames
from appliance.presentation.openai_responses import decode

TURN: list[dict[str, Any]] = [
    {"role": "user", "content": "Fix it."},
    {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "I should look."}],
        "encrypted_content": "sig",
    },
    {"role": "assistant", "content": "Looking."},
    {"type": "function_call", "call_id": "a", "name": "read", "arguments": '{"path":"x"}'},
    {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "***"},
    {"type": "function_call_output", "call_id": "a", "output": "text"},
    {
        "type": "custom_tool_call_output",
        "call_id": "b",
        "output": [
            {"type": "input_text", "text": "done"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
        ],
    },
    {"role": "developer", "content": "Stay calm."},
    {"role": "user", "content": "Go on."},
]
TOOLS = [
    {"type": "function", "name": "read", "parameters": {"type": "object"}},
    {"type": "custom", "name": "patch", "description": "Edit."},
]


def request(**fields: Any) -> ChatRequest:
    body = {"model": "m", "instructions": "Be terse.", "input": TURN, "tools": TOOLS} | fields
    return decode(json.dumps(body).encode(), {}).continued(())


def test_a_chat_backend_is_sent_a_conversation_of_its_own() -> None:
    sent = asked(request(), "up", backend="b", traits=Traits(), stream=False).body
    call = {"id": "a", "function": {"name": "read", "arguments": '{"path":"x"}'}}
    custom = {"id": "b", "function": {"name": "patch", "arguments": '{"input":"***"}'}}
    assert sent["messages"][:4] == [
        {"role": "system", "content": "Be terse.\n\nStay calm."},
        {"role": "user", "content": "Fix it."},
        {
            "role": "assistant",
            "content": "Looking.",
            "reasoning_content": "I should look.",
            "reasoning": "I should look.",
            "tool_calls": [{**call, "type": "function"}, {**custom, "type": "function"}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "text"},
    ]
    assert sent["messages"][4] == {"role": "tool", "tool_call_id": "b", "content": "done"}
    shown = sent["messages"][5]
    assert (shown["role"], [part["type"] for part in shown["content"]]) == (
        "user",
        ["image_url", "text"],
    )
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["read", "patch"]


def test_options_reach_a_chat_backend_in_its_words() -> None:
    sent = asked(
        request(
            max_output_tokens=5,
            temperature=0.5,
            parallel_tool_calls=False,
            tool_choice={"type": "custom", "name": "patch"},
            text={"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
        ),
        "up",
        backend="b",
        traits=Traits(),
        stream=False,
    ).body
    assert (sent["max_tokens"], sent["temperature"], sent["parallel_tool_calls"]) == (5, 0.5, False)
    assert sent["tool_choice"]["function"]["name"] == "patch"
    assert sent["response_format"]["json_schema"]["name"] == "s"


def test_anthropics_api_gets_the_thinking_back_with_its_signature() -> None:
    made = turns(request().messages, Blocks(ToolNames(0)))
    assert [turn["role"] for turn in made] == ["user", "assistant", "user"]
    assert [block["type"] for block in made[1]["content"]] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert made[1]["content"][0]["signature"] == "sig"
    assert made[1]["content"][3]["input"] == {"input": "***"}
    assert [block["type"] for block in made[2]["content"]] == ["tool_result", "tool_result", "text"]
