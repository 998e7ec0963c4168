"""Pairs for datasets, and OpenAI's published format for fine-tuning, held against a line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.domain.datasets.pair import Pair

START = datetime(2026, 11, 1, tzinfo=UTC)
_KEYS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}


def pair(number: int = 1, **changes: Any) -> Pair:
    """One second after the other; `number` is in its texts."""
    full: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "correlation_id": f"c-{number}",
        "conversation_id": f"c-{number}",
        "created_at": START + timedelta(seconds=number),
        "prompt": f"question {number}",
        "response": f"answer {number}",
        "model": "qwen3-8b",
        "finish_reason": "stop",
    }
    full |= changes
    full.setdefault("messages", ({"role": "user", "content": full["prompt"]},))
    return Pair(**full)


def call(number: int, arguments: str = '{"city": "Paris"}') -> dict[str, Any]:
    """As a pair has it."""
    function = {"name": "weather", "arguments": arguments}
    return {"id": f"call-{number}", "type": "function", "function": function}


def faults(line: str) -> list[str]:
    """What OpenAI's fine-tuning would refuse in a line of chat format; [] where it takes it."""
    example = json.loads(line)
    found = [f"unknown key {key}" for key in example.keys() - {"messages", "tools"}]
    messages = example.get("messages")
    if not isinstance(messages, list) or not messages:
        return [*found, "no messages"]
    for message in messages:
        found += _message_faults(message)
    if messages[-1]["role"] != "assistant":
        found.append("the last message is not the assistant's")
    found += _order_faults(messages)
    for tool in example.get("tools", []):
        if tool.keys() != {"type", "function"} or not tool["function"].get("name"):
            found.append(f"not a tool: {tool}")
    return found


def _message_faults(message: dict[str, Any]) -> Iterator[str]:
    role = message.get("role")
    if role not in _KEYS:
        yield f"unknown role {role}"
        return
    if extra := message.keys() - _KEYS[role]:
        yield f"unknown keys {sorted(extra)} of {role}"
    calls = message.get("tool_calls")
    if calls is not None and not calls:
        yield "empty tool_calls"
    content = message.get("content")
    if not isinstance(content, str) and not (content is None and calls):
        yield f"content of {role} is {content!r}"
    if role == "tool" and not message.get("tool_call_id"):
        yield "a result without its call"
    for each in calls or ():
        if each.keys() != {"id", "type", "function"} or each["type"] != "function":
            yield f"not a call: {each}"
        elif each["function"].keys() != {"name", "arguments"}:
            yield f"not a function: {each}"
        elif not isinstance(each["function"]["arguments"], str):
            yield "arguments are JSON text"


def _order_faults(messages: list[dict[str, Any]]) -> Iterator[str]:
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield "a result of no call"
            waiting.discard(message["tool_call_id"])
        else:
            if waiting:
                yield "a call without its result"
            waiting = {each["id"] for each in message.get("tool_calls") or ()}
