"""From the bodies of /api/chat and /api/generate to ChatRequest.  Step 3 of the path; pure.

A prompt of /api/generate is a user's message behind its system prompt, which any backend can
answer.  One that is `raw` or has a `suffix` is a text to be continued.  Without messages, or
without a prompt, a request only loads its model (see lines.loaded).
"""

from collections.abc import Mapping
from typing import Any, Literal

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options
from appliance.domain.conversation.parts import Text
from appliance.domain.conversation.request import ChatRequest
from appliance.presentation.extensions import FIELDS, extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.ollama.messages import images_of, read_messages
from appliance.presentation.ollama.options import NESTED, OPTION_NAMES, options_of, tools_of
from appliance.presentation.ollama.wire import WireAsked, WireChat, WireGenerate

CHAT, GENERATE = "ollama", "ollama_generate"  # dialects
_STREAM = frozenset({"model", "stream"})
_OF_CHAT = _STREAM | {"messages"}
_OF_PROMPT = _STREAM | {"prompt", "system", "images"}
_OF_TEXT = _STREAM | {"prompt"}


def decode_chat(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Raises InvalidRequest naming the field; `headers` (lower case) may carry the x-
    extensions."""
    sent = decode_object(body)
    wire = convert(sent, WireChat)
    options = options_of(wire)
    if wire.tools:
        options.tools = tools_of(wire.tools, sent["tools"])
    messages = read_messages(wire.messages, sent["messages"]) if wire.messages else ()
    return _request(sent, wire, CHAT, "chat", messages, options, _OF_CHAT, headers)


def decode_generate(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """As decode_chat."""
    sent = decode_object(body)
    wire = convert(sent, WireGenerate)
    options = options_of(wire)
    continues = bool(wire.raw or wire.suffix)
    options.suffix = wire.suffix or ""
    if continues:
        messages = _text(wire) if wire.prompt or wire.suffix else ()
        kind: Literal["chat", "text_completion"] = "text_completion"
        return _request(sent, wire, GENERATE, kind, messages, options, _OF_TEXT, headers)
    messages = _prompted(wire) if wire.prompt or wire.images else ()
    return _request(sent, wire, GENERATE, "chat", messages, options, _OF_PROMPT, headers)


def _request(
    sent: dict[str, Any],
    wire: WireAsked,
    dialect: str,
    operation: Literal["chat", "text_completion"],
    messages: tuple[Message, ...],
    options: Options,
    content: frozenset[str],
    headers: Mapping[str, str],
) -> ChatRequest:
    """`content` names the fields that are no params."""
    ours = {name for name in sent if name.startswith("x_")}
    return ChatRequest(
        model=wire.model or "",
        messages=messages,
        stream=wire.stream is not False,
        include_usage=True,  # the last line has the counts
        dialect=dialect,
        params={k: v for k, v in sent.items() if k not in content and k not in ours},
        options=options,
        option_names=OPTION_NAMES,
        extensions=extensions(
            {
                "route": wire.x_route,
                "workspace": wire.x_workspace,
                "project": wire.x_project,
                "conversation": wire.x_conversation,
            },
            headers,
        ),
        dropped=tuple(sorted(ours - FIELDS)),
        operation=operation,
        nested=NESTED,
    )


def _prompted(wire: WireGenerate) -> tuple[Message, ...]:
    """The sources are what /api/chat would have been sent, so that the record of the exchange
    reads like any other's."""
    prompt, images = wire.prompt or "", images_of(wire.images, "images")
    asked: dict[str, Any] = {"role": "user", "content": prompt}
    if wire.images:
        asked["images"] = wire.images
    user = Message("user", (*((Text(prompt),) if prompt else ()), *images), asked)
    if not wire.system:
        return (user,)
    told = {"role": "system", "content": wire.system}
    return (Message("system", (Text(wire.system),), told), user)


def _text(wire: WireGenerate) -> tuple[Message, ...]:
    prompt = wire.prompt or ""
    source = {"role": "user", "content": prompt}
    return (Message("user", (Text(prompt),) if prompt else (), source),)
