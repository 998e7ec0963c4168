"""A conversation in the words of Ollama's native wire.  Step 6 of the path; pure.

A message of this dialect goes as it came, and what came for /api/generate goes there.  Any other
is built from its parts: text in `content`, images beside it in `images` (base64 without a prefix),
calls with their arguments as an object, and each result of a tool as a message of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options, ReasoningOptions, Tool
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import InvalidRequest
from appliance.infra.dialects.documents import framed

DIALECT = "ollama"
GENERATE = "ollama_generate"  # the same wire's /api/generate
SPOKEN = frozenset({DIALECT, GENERATE})
# What Options can say in this wire.  Ollama has no tool_choice, n, user or parallel_tool_calls.
CARRIES = frozenset(
    {
        "max_output_tokens", "temperature", "top_p", "top_k", "stop", "seed", "presence_penalty",
        "frequency_penalty", "tools", "response_format", "reasoning", "suffix",
    }
)  # fmt: skip
# (field of Options, its name in Ollama's `options`)
_SAMPLING = (
    ("max_output_tokens", "num_predict"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("seed", "seed"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
)
# gpt-oss alone takes a level; every other model that thinks takes yes or no.
_LEVELLED_FAMILIES = frozenset({"gptoss", "gpt-oss"})
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
_RESULT_IMAGES = "The images of the tool results above:"


def body(request: ChatRequest, model: str, num_ctx: int, *, family: str) -> dict[str, Any]:
    """The body for /api/chat, or for /api/generate where a text is to be continued; without
    `stream`.  Raises InvalidRequest for a part this wire has no place for."""
    if request.dialect == GENERATE:
        return {"model": model, **_generated(request), **_own_params(request, num_ctx)}
    if request.dialect == DIALECT:
        asked = _own_params(request, num_ctx)
    else:
        asked = _options_of(request.options, num_ctx, family)
    if request.operation == "text_completion":
        # Through the model's template, as Ollama's own /v1/completions asks it.
        text = request.messages[-1].text if request.messages else ""
        prompt = {"model": model, "prompt": text, "raw": False}
        if request.options.suffix:
            prompt["suffix"] = request.options.suffix
        return {**prompt, **asked}
    return {"model": model, "messages": messages(request), **asked}


def messages(request: ChatRequest) -> list[Mapping[str, Any]]:
    """The conversation; sources as they came where the request is of this dialect."""
    own = request.dialect == DIALECT
    names = _call_names(request.messages)
    told: list[Mapping[str, Any]] = []
    images: list[
        str
    ] = []  # of tool results: they follow the last one, for no other may follow them
    for message in request.messages:
        if own and message.source and not message.edited:
            built: list[Mapping[str, Any]] = [message.source]
        else:
            built = list(_built(message, names, images))
            if own and message.source and len(built) == 1:
                built = [{**message.source, **built[0]}]
        for one in built:
            if images and one.get("role") != "tool":
                told.append(_shown(images))
                images = []
            told.append(one)
    return [*told, _shown(images)] if images else told


def _generated(request: ChatRequest) -> dict[str, Any]:
    """The conversation as /api/generate has it: one prompt, its images, and what stands before
    it.  Knowledge that was looked up for it is a message of ours, and becomes part of those."""
    asked = [message for message in request.messages if message.role != "system"]
    system = [message.text for message in request.messages if message.role == "system"]
    told: dict[str, Any] = {"prompt": "\n\n".join(message.text for message in asked)}
    if system:
        told["system"] = "\n\n".join(system)
    parts = (part for message in asked for part in message.parts)
    if images := [_image(part) for part in parts if isinstance(part, Image)]:
        told["images"] = images
    return told


def _own_params(request: ChatRequest, num_ctx: int) -> dict[str, Any]:
    """A native client's parameters, with a window if it names none."""
    options = request.params.get("options")
    options = options if isinstance(options, Mapping) else {}
    return {**request.params, "options": {"num_ctx": num_ctx, **options}}


def _options_of(options: Options, num_ctx: int, family: str) -> dict[str, Any]:
    sampling: dict[str, Any] = {"num_ctx": num_ctx}
    for field, name in _SAMPLING:
        if (value := getattr(options, field)) is not None:
            sampling[name] = value
    if options.stop:
        sampling["stop"] = list(options.stop)
    # Without these two a prompt that does not fit loses its beginning, and an answer that fills the
    # window the beginning of the conversation, both under a 200 (Ollama 0.12.6 on; ollama#17944).
    asked: dict[str, Any] = {"options": sampling, "truncate": False, "shift": False}
    if options.tools and not (options.tool_choice and options.tool_choice.mode == "none"):
        asked["tools"] = [_tool(tool) for tool in options.tools]
    if (wanted := options.response_format) is not None:
        asked["format"] = "json" if wanted.kind == "json_object" else wanted.schema
    if options.reasoning is not None and (think := _think(options.reasoning, family)) is not None:
        asked["think"] = think
    return asked


def _think(reasoning: ReasoningOptions, family: str) -> bool | str | None:
    if reasoning.enabled is False or reasoning.effort == "none":
        return False
    if not reasoning.enabled and not reasoning.effort:
        return None
    level = _LEVELS.get(reasoning.effort)
    return level if level and family in _LEVELLED_FAMILIES else True


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        },
    }


def _call_names(conversation: Sequence[Message]) -> Mapping[str, str]:
    """The names of the tools by the ids of their calls: here a result names its tool."""
    return {
        part.id: part.name
        for message in conversation
        for part in message.parts
        if isinstance(part, ToolCall)
    }


def _built(
    message: Message, names: Mapping[str, str], images: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Results first, since they must follow their calls; then what else the message says.  Adds
    the images of its results to `images`."""
    if len(message.parts) == 1 and isinstance(only := message.parts[0], Text):
        yield {"role": message.role, "content": only.text}  # the usual message, at once
        return
    rest: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            images += [_image(inner) for inner in part.parts if isinstance(inner, Image)]
            yield _result(part, part.name or names.get(part.call_id, ""))
        else:
            rest.append(part)
    if rest or not message.parts:
        yield _spoken(message.role, rest)


def _result(result: ToolResult, name: str) -> Mapping[str, Any]:
    text = _text([part for part in result.parts if not isinstance(part, Image)])
    told = {"role": "tool", "content": f"Error: {text}" if result.is_error else text}
    if name:
        told["tool_name"] = name
    if result.call_id:
        told["tool_call_id"] = result.call_id
    return told


def _shown(images: Sequence[str]) -> Mapping[str, Any]:
    return {"role": "user", "content": _RESULT_IMAGES, "images": images}


def _spoken(role: str, parts: Sequence[Part]) -> Mapping[str, Any]:
    said = [part for part in parts if isinstance(part, Text | Document | Unknown)]
    told: dict[str, Any] = {
        "role": role,
        "content": _text(said, "" if role == "assistant" else "\n\n"),
    }
    if thoughts := [part.text for part in parts if isinstance(part, Reasoning) and part.text]:
        told["thinking"] = "\n".join(thoughts)
    if images := [_image(part) for part in parts if isinstance(part, Image)]:
        told["images"] = images
    if calls := [_call(part) for part in parts if isinstance(part, ToolCall)]:
        told["tool_calls"] = calls
    return told


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call.arguments)}
    return {**({"id": call.id} if call.id else {}), "function": function}


def _arguments(text: str) -> dict[str, Any]:
    """The object the wire wants.  A model may have written something else: it is shown what."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"invalid_arguments": text}


def _image(image: Image) -> str:
    if not image.data:
        raise InvalidRequest("An image came without its data.", param="messages")
    return image.data


def _text(parts: Sequence[Part], between: str = "\n\n") -> str:
    return between.join(filter(None, map(_said, parts)))


def _said(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Document) and (part.text or not part.data):
        return framed(part)
    if isinstance(part, Document):
        raise InvalidRequest(
            f"This model is served by Ollama, which takes documents as plain text only, and "
            f"{part.name or 'a document'} is of type {part.media_type or 'unknown'}.",
            param="messages",
        )
    kind = part.kind if isinstance(part, Unknown) else type(part).__name__.lower()
    raise InvalidRequest(
        f"This model is served by Ollama, whose wire has no place for a part of type {kind!r}.",
        param="messages",
    )
