"""From the body of a chat completion request to ChatRequest.  Step 3 of the path; pure."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.errors import InvalidRequest
from appliance.presentation.extensions import FIELDS, extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.openai_chat.wire import ROLES, WireMessage, WireRequest

_OWN = frozenset({"model", "messages", "stream", "stream_options"})


def decode(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Raises InvalidRequest naming the field; `headers` (lower case) may carry the x-
    extensions."""
    sent = decode_object(body)
    wire = convert(sent, WireRequest)
    for position, message in enumerate(wire.messages):
        if message.role not in ROLES:
            raise InvalidRequest(
                f"messages[{position}].role must be one of {', '.join(sorted(ROLES))}",
                param=f"messages[{position}].role",
            )
    options = wire.stream_options
    ours = {key for key in sent if key.startswith("x_")}
    return ChatRequest(
        model=wire.model or "",
        messages=tuple(map(_message, wire.messages, sent["messages"])),
        stream=bool(wire.stream),
        include_usage=bool(options and options.include_usage),
        dialect="openai_chat",
        params={k: v for k, v in sent.items() if k not in _OWN and k not in ours},
        extensions=_extensions(wire, headers),
        dropped=tuple(sorted(ours - FIELDS)),
    )


def _message(message: WireMessage, source: dict[str, Any]) -> Message:
    content = message.content
    if isinstance(content, list):
        texts = (part["text"] for part in content if part.get("type") == "text" and "text" in part)
        content = "\n".join(text for text in texts if isinstance(text, str))
    return Message(message.role, content or "", source)


def _extensions(wire: WireRequest, headers: Mapping[str, str]) -> Extensions:
    return extensions(
        {
            "route": wire.x_route,
            "workspace": wire.x_workspace,
            "project": wire.x_project,
            "conversation": wire.x_conversation,
        },
        headers,
    )
