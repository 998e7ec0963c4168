"""The messages of a chat completion request as neutral messages.  Called by decode.py; pure.

Each message keeps what the client sent as its `source`; the parts say the same in neutral words,
for a backend of another dialect.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from appliance.domain.conversation.encoded import (
    check_base64,
    is_data_url,
    parse_data_url,
    text_of,
)
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.errors import InvalidRequest
from appliance.presentation.openai_chat.wire import WireCall, WireCalled, WireMessage

Source = Mapping[str, Any]
Content = Text | Image | Document | Unknown
_OF_A_CALL = frozenset({"id", "type", "function", "index"})


def read_messages(sent: Sequence[WireMessage], sources: Sequence[Source]) -> tuple[Message, ...]:
    """In order.  Raises InvalidRequest naming the message, part or call at fault."""
    calls = _LegacyCalls()
    messages = []
    for at, (message, source) in enumerate(zip(sent, sources, strict=True)):
        place = f"messages[{at}]"
        known = _ROLES.get(message.role)
        if known is None:
            names = ", ".join(sorted(_ROLES))
            raise InvalidRequest(f"{place}.role must be one of {names}", param=f"{place}.role")
        role, read = known
        messages.append(Message(role, read(message, source, place, calls), source))
    return tuple(messages)


class _LegacyCalls:
    """Ids for calls in the form before tools, which had none: a result names its function."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._made = 0

    def call(self, name: str) -> str:
        self._made += 1
        self._last[name] = made = f"call_{self._made}"
        return made

    def result(self, name: str) -> str:
        return self._last.get(name) or self.call(name)


def _said(message: WireMessage, source: Source, place: str, _: _LegacyCalls) -> tuple[Part, ...]:
    return _content(message, place)


def _answered(
    message: WireMessage, source: Source, place: str, legacy: _LegacyCalls
) -> tuple[Part, ...]:
    parts: list[Part] = [*_reasoning(message), *_content(message, place)]
    if message.refusal and isinstance(message.refusal, str):
        parts.append(Refusal(message.refusal))
    if message.tool_calls:
        sent = zip(message.tool_calls, source["tool_calls"], strict=True)
        parts += [_call(c, own, f"{place}.tool_calls[{n}]") for n, (c, own) in enumerate(sent)]
    if (called := message.function_call) is not None:
        call_id = legacy.call(called.name)
        parts.append(ToolCall(call_id, called.name, _arguments(called)))
    return tuple(parts)


def _returned(
    message: WireMessage, source: Source, place: str, _: _LegacyCalls
) -> tuple[Part, ...]:
    if not message.tool_call_id:
        raise InvalidRequest(
            f"{place}.tool_call_id must name the call this message is the result of",
            param=f"{place}.tool_call_id",
        )
    content = _content(message, place)
    return (ToolResult(message.tool_call_id, content, name=message.name or ""),)


def _returned_by_name(
    message: WireMessage, source: Source, place: str, legacy: _LegacyCalls
) -> tuple[Part, ...]:
    name = message.name or ""
    return (ToolResult(legacy.result(name), _content(message, place), name=name),)


_Read = Callable[[WireMessage, Source, str, _LegacyCalls], tuple[Part, ...]]
# Role on the wire -> the neutral role, and what reads such a message.
_ROLES: Mapping[str, tuple[str, _Read]] = {
    "system": ("system", _said),
    "developer": ("system", _said),
    "user": ("user", _said),
    "assistant": ("assistant", _answered),
    "tool": ("tool", _returned),
    "function": ("tool", _returned_by_name),
}


def _content(message: WireMessage, place: str) -> tuple[Content, ...]:
    content = message.content
    if not content:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_part(part, f"{place}.content[{at}]") for at, part in enumerate(content))


def _part(part: Source, place: str) -> Content:
    kind = part.get("type")
    read = _PARTS.get(kind) if isinstance(kind, str) else None
    try:
        known = read(part) if read else None
    except ValueError as exc:
        raise InvalidRequest(f"{place}: {exc}", param=place) from exc
    return known or Unknown(kind if isinstance(kind, str) else "", part)


def _text(part: Source) -> Text | None:
    text = part.get("text")
    return Text(text, part) if isinstance(text, str) else None


def _refusal(part: Source) -> Refusal | None:
    refusal = part.get("refusal")
    return Refusal(refusal, part) if isinstance(refusal, str) else None


def _image(part: Source) -> Image | None:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image  # some clients send the text alone
    if not isinstance(url, str):
        raise ValueError("image_url.url must be a text")
    told = image.get("detail") if isinstance(image, dict) else None
    detail = told if isinstance(told, str) else ""
    if is_data_url(url):
        media_type, data = parse_data_url(url)
        return Image(media_type, data, source=part, detail=detail)
    if _is_web(url):
        return Image(url=url, source=part, detail=detail)
    raise ValueError("image_url.url must be an http(s) URL or a data: URL")


def _file(part: Source) -> Document | None:
    """None for a file named by its id alone: only who gave the id knows the file."""
    file = part.get("file")
    sent = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(file, dict) or not isinstance(sent, str):
        return None
    name = file.get("filename")
    name = name if isinstance(name, str) else ""
    if _is_web(sent):
        return Document(name, url=sent, source=part)
    if not is_data_url(sent):
        check_base64(sent)
        return Document(name, data=sent, source=part)
    media_type, data = parse_data_url(sent)
    text = text_of(data) if media_type.startswith("text/") else None
    if text is not None:
        return Document(name, media_type, text=text, source=part)
    return Document(name, media_type, data=data, source=part)


_PARTS: Mapping[str, Callable[[Source], Content | None]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
}


def _is_web(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))


def _call(call: WireCall, source: Source, place: str) -> Part:
    if call.function is None:
        if call.type not in (None, "function"):
            return Unknown(call.type or "", source)
        raise InvalidRequest(
            f"{place}.function must name the function called", param=f"{place}.function"
        )
    if not call.id:
        raise InvalidRequest(f"{place}.id must be a text that is not empty", param=f"{place}.id")
    extra = {name: value for name, value in source.items() if name not in _OF_A_CALL}
    return ToolCall(call.id, call.function.name, _arguments(call.function), extra, source)


def _arguments(called: WireCalled) -> str:
    """JSON text; `{}` for none, since an empty text is no JSON."""
    given = called.arguments
    if isinstance(given, dict):
        return msgspec.json.encode(given).decode()
    return given if given and not given.isspace() else "{}"


def _reasoning(message: WireMessage) -> list[Reasoning]:
    """The blocks of `reasoning_details`, and the plain text where none of them has any.

    vllm#33616: clients echo the plain text under either of its names.
    """
    blocks = _blocks(message.reasoning_details)
    texts = (message.reasoning_content, message.reasoning)
    plain = next((text for text in texts if text and isinstance(text, str)), "")
    if not plain or any(block.text for block in blocks):
        return blocks
    for at, block in enumerate(blocks):
        if block.signature:  # a signature without its text: the text is what it signs
            blocks[at] = Reasoning(plain, block.signature)
            return blocks
    return [Reasoning(plain), *blocks]


def _blocks(details: Any) -> list[Reasoning]:
    """OpenRouter's `reasoning_details`; the fragments of a client that kept a stream's steps, which
    have one index, are one block again."""
    blocks: list[list[Reasoning]] = []
    open_index: int | None = None
    for entry in details if isinstance(details, list) else ():
        block = _block(entry)
        if block is None:
            continue
        index = entry.get("index")
        if blocks and index is not None and index == open_index and not block.redacted:
            blocks[-1].append(block)
        else:
            blocks.append([block])
        closed = block.signature or block.redacted or not isinstance(index, int)
        open_index = None if closed else index
    return [_joined(fragments) for fragments in blocks]


def _joined(fragments: list[Reasoning]) -> Reasoning:
    if len(fragments) == 1:
        return fragments[0]
    return Reasoning("".join(part.text for part in fragments), fragments[-1].signature)


def _block(entry: Any) -> Reasoning | None:
    if not isinstance(entry, dict):
        return None
    kind = entry.get("type")
    words = {
        name: value
        for name in ("text", "summary", "signature", "data")
        if isinstance(value := entry.get(name), str)
    }
    if kind == "reasoning.encrypted" and words.get("data"):
        return Reasoning(redacted=words["data"], source=cast(Source, entry))
    text = words.get("text" if kind == "reasoning.text" else "summary", "")
    signature = words.get("signature", "")
    if kind in ("reasoning.text", "reasoning.summary") and (text or signature):
        return Reasoning(text, signature, source=cast(Source, entry))
    return None
