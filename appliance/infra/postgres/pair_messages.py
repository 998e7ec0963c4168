"""What clients sent, in OpenAI's shape.  Called by pairs.py; pure.

chat_history keeps messages in the words of the wire they came by, OpenAI's or Anthropic's.  What a
model thought is left out: a client may not have been shown it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.datasets.pair import ChatMessage
from appliance.infra.postgres.rows import text_of

Sent = tuple[str, str, Mapping[str, Any] | None]  # role, text, the message where it is more
_ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
# Parts that are text, calls, results and thoughts; what pairs.py lets through of documents is text.
_KINDS = frozenset({
    "text", "tool_use", "tool_result", "thinking", "redacted_thinking", "refusal", "document",
    "search_result",
})  # fmt: skip
_FUNCTION_FIELDS = ("name", "description", "parameters", "strict")


class NotSayable(ValueError):
    """OpenAI's format has no words for it."""


def openai_messages(sent: Iterable[Sent]) -> tuple[ChatMessage, ...]:
    """All that stands before a response.  Raises NotSayable, also when a call has no result, a
    result no call, or the response continues a message of the assistant's."""
    messages = [message for one in sent for message in _shaped(*one)]
    _require_results(messages)
    if not messages or messages[-1]["role"] == "assistant":
        raise NotSayable("the response continues what the assistant was made to say")
    return tuple(messages)


def openai_calls(calls: object) -> tuple[dict[str, Any], ...]:
    """`tool_calls` of a message or of a pair.  Raises NotSayable."""
    return tuple(_call(call) for call in calls) if isinstance(calls, list) else ()


def openai_tools(tools: object) -> tuple[dict[str, Any], ...]:
    """`tools` of a request, functions only: what the provider runs itself has no definition."""
    found = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    functions = (_function(tool) for tool in found)
    return tuple({"type": "function", "function": each} for each in functions if each)


def _shaped(role: str, text: str, message: Mapping[str, Any] | None) -> Iterator[ChatMessage]:
    if role not in _ROLES:
        raise NotSayable(f"a message of the role {role!r}")
    content = message.get("content") if message else None
    parts = [p for p in content if isinstance(p, dict)] if isinstance(content, list) else []
    if unknown := {str(part.get("type")) for part in parts} - _KINDS:
        raise NotSayable(f"a part of the kind {min(unknown)!r}")
    results = [part for part in parts if part.get("type") == "tool_result"]
    if results:
        yield from _results(parts, results)
    elif role == "tool":
        yield _result((message or {}).get("tool_call_id"), text)
    elif role == "assistant":
        yield _assistant(text, message or {}, parts)
    else:
        yield {"role": _ROLES[role], "content": text}


def _assistant(text: str, message: Mapping[str, Any], parts: Sequence[Any]) -> ChatMessage:
    uses = [part for part in parts if part.get("type") == "tool_use"]
    calls = [*openai_calls(message.get("tool_calls")), *map(_use, uses)]
    if not text and not calls:
        raise NotSayable("the assistant says nothing")
    if not calls:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": text or None, "tool_calls": calls}


def _results(parts: Sequence[Any], results: Sequence[Any]) -> Iterator[ChatMessage]:
    """A message each; what a user says besides comes after them."""
    for part in results:
        yield _result(part.get("tool_use_id"), text_of(part.get("content")))
    if rest := text_of([part for part in parts if part not in results]):
        yield {"role": "user", "content": rest}


def _result(call_id: object, text: str) -> ChatMessage:
    if not isinstance(call_id, str) or not call_id:
        raise NotSayable("a result that names no call")
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _call(call: object) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise NotSayable("a call that is not of a function")
    return _named(call.get("id"), function.get("name"), function.get("arguments"))


def _use(part: Mapping[str, Any]) -> dict[str, Any]:
    return _named(part.get("id"), part.get("name"), part.get("input"))


def _named(call_id: object, name: object, arguments: object) -> dict[str, Any]:
    if not (isinstance(call_id, str) and call_id and isinstance(name, str) and name):
        raise NotSayable("a call without id or name")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    elif arguments and not _is_object(arguments):
        raise NotSayable("a call whose arguments are no JSON object")
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _is_object(text: str) -> bool:
    """Models break off in the middle of a call: nothing to learn from.  Without any it was
    withheld, or there are none."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Its definition in OpenAI's words; {} where it is none."""
    if isinstance(function := tool.get("function"), dict):
        return {key: function[key] for key in _FUNCTION_FIELDS if function.get(key) is not None}
    if not isinstance(tool.get("input_schema"), dict):
        return {}
    told = {**tool, "parameters": tool["input_schema"]}
    return {key: told[key] for key in _FUNCTION_FIELDS[:3] if told.get(key) is not None}


def _require_results(messages: Sequence[ChatMessage]) -> None:
    """Every call is answered before anybody says anything else, and nothing else is."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise NotSayable("a result without its call")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise NotSayable("a call without its result")
        else:
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
    if open_calls:
        raise NotSayable("a call without its result")
