"""A message in the words of chat completions, for the record of its exchange.  Called by
`conversation`; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.domain.conversation.options import Tool
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from appliance.presentation.openai_responses.wire import Object


def recorded(role: str, parts: Sequence[Part]) -> Object:
    """One message; a text alone is its content, thoughts are `reasoning_content`."""
    if role == "assistant":
        return _assistant(parts)
    if role == "tool" and isinstance(result := parts[0], ToolResult):
        content = _content(result.parts)
        return {"role": role, "tool_call_id": result.call_id, "content": content}
    return {"role": role, "content": _content(parts)}


def recorded_tool(tool: Tool) -> Object:
    """One of `tools`, nested as chat completions have it."""
    function = {
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    told = {name: value for name, value in function.items() if value is not None}
    return {"type": "function", "function": told}


def _assistant(parts: Sequence[Part]) -> Object:
    calls = [part for part in parts if isinstance(part, ToolCall)]
    thoughts = "".join(part.text for part in parts if isinstance(part, Reasoning))
    said = [part for part in parts if not isinstance(part, ToolCall | Reasoning)]
    content = _content(said)
    if isinstance(content, list) and all(isinstance(part, Text) for part in said):
        content = "".join(part.text for part in said if isinstance(part, Text))
    message: Object = {"role": "assistant", "content": content or None}
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _call(call: ToolCall) -> Object:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _content(parts: Sequence[Part]) -> str | list[Mapping[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_part(part) for part in parts]


def _part(part: Part) -> Mapping[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    if isinstance(part, Document):
        return {"type": "file", "file": _file(part)}
    return getattr(part, "source", None) or {"type": "unknown"}


def _file(part: Document) -> Object:
    if part.url:
        return {"filename": part.name, "file_data": part.url}
    if part.text:
        return {"filename": part.name, "text": part.text}
    return {
        "filename": part.name,
        "file_data": f"data:{part.media_type};base64,{part.data}",
    }
