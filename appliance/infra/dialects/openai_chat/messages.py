"""Messages as a server of OpenAI's wire wants them.  Used by request.py; pure.

Those of its own dialect go as the client sent them, but for what this kind of server is known not
to take; edited ones and those of another dialect are written from their parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.errors import InvalidRequest
from appliance.infra.dialects.documents import framed
from appliance.infra.dialects.openai_chat.traits import REASONING_FIELDS, Traits
from appliance.infra.dialects.tool_names import ToolNames

Wire = dict[str, Any]
_BETWEEN_TEXTS = "\n\n"
_THOUGHTS = (*REASONING_FIELDS, "reasoning_details")
_WRITTEN_FROM_PARTS = ("content", "refusal", "tool_calls", *_THOUGHTS)
_TEXT = frozenset({"type", "text"})
_FILES = ("image_url", "file")
_CUSTOM_CALL = "custom"  # OpenAI's call of a tool without a schema


class MessageWriter:
    """Writes the messages of one request for one backend.  Every method raises InvalidRequest for
    a part this backend cannot be sent."""

    def __init__(self, backend: str, traits: Traits, names: ToolNames, *, own: bool) -> None:
        """`own`: the request is of this dialect, and so is the `source` of every part."""
        self._backend = backend
        self._traits = traits
        self._names = names
        self._own = own

    def messages(self, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
        """The whole `messages` of the body."""
        return [self._as_sent(m) for m in messages] if self._own else self._anew(messages)

    # -- of its own dialect

    def _as_sent(self, message: Message) -> Mapping[str, Any]:
        """As the client sent it, unless it was edited or this kind differs."""
        source = message.source
        if message.edited or not source:
            source = self._rebuilt(message)
        if message.role == "assistant":
            if not self._traits.knows_refusals and any(map(_refuses, message.parts)):
                source = self._with_refusal_said(source, message.parts)
            if not source.keys().isdisjoint(_THOUGHTS):
                return self._with_thoughts_renamed(source)
        elif source.get("role") == "developer" and not self._traits.knows_developer:
            return {**source, "role": "system"}
        return source

    def _with_refusal_said(self, source: Mapping[str, Any], parts: Sequence[Part]) -> Wire:
        """A template has no word for a refusal: it is what the assistant said."""
        kept = {key: value for key, value in source.items() if key != "refusal"}
        said = [Text(part.text) for part in parts if isinstance(part, Text)]
        return {**kept, "content": self._content(said)}

    def _with_thoughts_renamed(self, source: Mapping[str, Any]) -> Wire:
        told = (source.get(name) for name in REASONING_FIELDS)
        text = next((text for text in told if isinstance(text, str) and text), "")
        fields = self._traits.reasoning_fields
        lost = REASONING_FIELDS if fields else _THOUGHTS
        kept = {key: value for key, value in source.items() if key not in lost}
        return kept | dict.fromkeys(fields, text) if text else kept

    def _rebuilt(self, message: Message) -> Wire:
        """The same message with what its parts say now; everything else it came with stays."""
        kept = {k: v for k, v in message.source.items() if k not in _WRITTEN_FROM_PARTS}
        parts: Sequence[Part] = message.parts
        if message.role == "assistant":
            written = {**kept, **self._assistant(parts)}
            if "function_call" in kept:  # the same call, in the form before tools
                written.pop("tool_calls", None)
            details = [p.source for p in parts if isinstance(p, Reasoning) and p.source is not None]
            return {**written, "reasoning_details": details} if details else written
        if len(parts) == 1 and isinstance(parts[0], ToolResult):
            if not message.source:
                kept["tool_call_id"] = parts[0].call_id
            parts = parts[0].parts
        return {"role": message.role, **kept, "content": self._content(parts)}

    # -- of another dialect

    def _anew(self, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
        """The system's first and as one, then user and assistant in turn, as strict templates want
        it."""
        told = [part for message in messages if message.role == "system" for part in message.parts]
        written: list[Mapping[str, Any]] = []
        if told:
            written.append({"role": "system", "content": self._content(told)})
        rest = [message for message in messages if message.role != "system"]
        for answered, turn in groupby(rest, lambda message: message.role == "assistant"):
            if answered:
                written.append(self._assistant(_merged(turn)))
            else:
                written += self._asked([part for message in turn for part in message.parts])
        return written

    def _asked(self, parts: Sequence[Part]) -> list[Wire]:
        """A user's turn: the tools' results, each its own message and directly after the calls,
        then what else there is."""
        turns: list[Wire] = []
        shown: list[Part] = []  # by tools: their messages hold text alone
        rest: list[Part] = []
        for part in parts:
            if isinstance(part, ToolResult):
                turns.append(self._result(part))
                shown += [inner for inner in part.parts if not _is_text(inner)]
            else:
                rest.append(part)
        if shown or rest or not turns:
            turns.append({"role": "user", "content": self._content([*shown, *rest])})
        return turns

    def _result(self, result: ToolResult) -> Wire:
        text = self._content([part for part in result.parts if _is_text(part)], between="\n")
        if result.is_error:
            text = f"Error: {text}"
        return {"role": "tool", "tool_call_id": result.call_id, "content": text}

    # -- of both

    def _assistant(self, parts: Sequence[Part]) -> Wire:
        thoughts: list[str] = []
        calls: list[Source] = []
        said: list[Part] = []
        for part in parts:
            if isinstance(part, Reasoning):
                thoughts.append(part.text)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif self._own and isinstance(part, Unknown) and part.kind == _CUSTOM_CALL:
                calls.append(part.source)
            else:
                said.append(part)
        written: Wire = {"role": "assistant", "content": self._content(said, between="")}
        if thought := "\n".join(filter(None, thoughts)):
            written |= dict.fromkeys(self._traits.reasoning_fields, thought)
        if calls:
            written["tool_calls"] = calls
            written["content"] = written["content"] or None
        return written

    def _call(self, call: ToolCall) -> Mapping[str, Any]:
        if self._own and call.source is not None:
            return call.source
        function = {"name": self._names.sent(call.name), "arguments": call.arguments or "{}"}
        written = {"id": call.id, "type": "function", "function": function}
        return {**call.extra, **written} if self._traits.takes_call_extras else written

    def _content(self, parts: Sequence[Part], between: str = _BETWEEN_TEXTS) -> Any:
        """One string where all is text of ours: templates of text models take nothing else."""
        contents = [self._content_part(part) for part in parts]
        as_sent = self._own and any(part.source is not None for part in parts)
        if as_sent or any(one.keys() != _TEXT for one in contents):
            return contents
        return between.join(one["text"] for one in contents)

    def _content_part(self, part: Part) -> Mapping[str, Any]:
        if self._own and part.source is not None:
            return part.source
        made = self._made(part)
        if self._own and isinstance(part, Image | Document) and part.original is not None:
            return _in_place_of(part.original, made)
        return made

    def _made(self, part: Part) -> Wire:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image) and part.data:
            image = {"url": f"data:{part.media_type or 'image/png'};base64,{part.data}"}
            if part.detail:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        if isinstance(part, Document) and part.text:
            return {"type": "text", "text": framed(part)}
        if isinstance(part, Document) and part.data and self._traits.reads_files:
            data = f"data:{part.media_type or 'application/pdf'};base64,{part.data}"
            file = {"filename": part.name or "document", "file_data": data}
            return {"type": "file", "file": file}
        raise InvalidRequest(
            f"backend {self._backend} cannot be sent {_name_of(part)}", param="messages"
        )


def _in_place_of(original: Mapping[str, Any], made: Wire) -> Wire:
    """`made`, with what else the part it stands for said; never the URL, which may not be passed
    on."""
    kept = {key: value for key, value in original.items() if key not in _FILES}
    kind = made["type"]
    given, inner = original.get(kind), made[kind]
    if isinstance(given, dict) and isinstance(inner, dict):
        inner = {**given, **inner}
    return {**kept, **made, kind: inner}


def _merged(turn: Iterable[Message]) -> list[Part]:
    """The parts of an assistant's messages in a row; texts of two do not run into each other."""
    parts: list[Part] = []
    for message in turn:
        if message.text and any(isinstance(part, Text) for part in parts):
            parts.append(Text(_BETWEEN_TEXTS))
        parts += message.parts
    return parts


def _refuses(part: Part) -> bool:
    return isinstance(part, Refusal)


def _is_text(part: Part) -> bool:
    return isinstance(part, Text) or (isinstance(part, Document) and bool(part.text))


def _name_of(part: Part) -> str:
    if isinstance(part, Unknown):
        return f"a part of type {part.kind!r}"
    if isinstance(part, Document):
        kind = part.media_type or "of an unknown type"
        return f"the file {part.name!r} ({kind}): of files it reads text alone"
    return f"a part of type {type(part).__name__.lower()!r}"
