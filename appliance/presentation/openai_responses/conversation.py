"""From items to messages.  Called by `decode` for the items of a request and of those it continues;
pure.

What an assistant thought, said and called stands in items of its own; a row of them is one message.
Each message's `source` is it once more in the words of chat completions: no backend speaks this
wire, but the record of an exchange is read in those.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypeVar

import msgspec

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.json_body import convert
from appliance.presentation.openai_responses.content import content_of, texts_of
from appliance.presentation.openai_responses.items import MESSAGE, REFERENCE, type_of
from appliance.presentation.openai_responses.recorded import recorded
from appliance.presentation.openai_responses.tools import (
    ADDITIONAL,
    INPUT_FIELD,
    SEARCH,
    SEARCH_OUTPUT,
    Key,
    called,
    tools_of,
)
from appliance.presentation.openai_responses.wire import (
    CallItem,
    CompactionItem,
    CustomCallItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
    SearchItem,
)

T = TypeVar("T")
REDACTED = "redacted."  # before Anthropic's encrypted form of reasoning, in `encrypted_content`
_CALLS = frozenset({"function_call", "custom_tool_call", "tool_search_call"})
_ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}
_BETWEEN_ITEMS = Text("\n\n")
TRIGGER, COMPACTION = "compaction_trigger", "compaction"
_ASKED_TO_COMPACT = Unknown(TRIGGER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One item in neutral words; no parts for one that says nothing."""

    role: str
    parts: tuple[Part, ...]


def entries_of(items: Sequence[Item], place: str, names: Mapping[Key, str]) -> list[Entry]:
    """Those we have a word for, in order; `names` are those the tools go by.  Raises InvalidRequest
    naming the item below `place`."""
    read = ((_READERS.get(type_of(item)), item, f"{place}[{n}]") for n, item in enumerate(items))
    return [reader(called(item, names), at) for reader, item, at in read if reader is not None]


def standing(entries: Sequence[Entry]) -> list[Entry]:
    """Those that still say something: a compaction that was asked for among them stands for all
    before it but instructions."""
    begin = 0
    for at, (asked, answer) in enumerate(pairwise(entries)):
        if _ASKED_TO_COMPACT in asked.parts and _is_compaction(answer):
            begin = at
    rest = [entry for entry in entries[:begin] if entry.role == "system"]
    return [entry for entry in (*rest, *entries[begin:]) if _ASKED_TO_COMPACT not in entry.parts]


def is_cut_call(item: Item) -> bool:
    """True for a call whose answer ended before it was whole."""
    return type_of(item) in _CALLS and item.get("status") == "incomplete"


def unread_types(items: Sequence[Item]) -> tuple[str, ...]:
    """The types of items that are left out of the conversation."""
    found = {type_of(item) for item in items}
    return tuple(sorted(found - _READERS.keys() - {REFERENCE, ADDITIONAL}))


def require_referred(items: Sequence[Item], earlier: Sequence[Item], place: str) -> None:
    """Raises InvalidRequest for a reference to an item that is not before it.

    What it refers to is part of the conversation where it stands, and is not said twice.
    """
    known = {item.get("id") for item in earlier}
    for at, item in enumerate(items):
        if type_of(item) == REFERENCE and item.get("id") not in known:
            param = f"{place}[{at}].id"
            raise InvalidRequest(
                f"{param}: no item {item.get('id')!r} in this request before it, nor in the "
                "responses it continues (previous_response_id); send the item itself.",
                param=param,
                code="item_not_found",
            )
        if type_of(item) != REFERENCE:
            known.add(item.get("id"))


def messages_of(entries: Sequence[Entry]) -> Iterator[Message]:
    """One message an entry, and one for each row of an assistant's."""
    for role, row in groupby(entries, lambda entry: entry.role):
        if role == "assistant":
            if parts := _joined(row):
                yield Message(role, parts, recorded(role, parts))
        else:
            for entry in row:
                yield Message(role, entry.parts, recorded(role, entry.parts))


def _joined(row: Iterator[Entry]) -> tuple[Part, ...]:
    """Texts of two items do not run into each other."""
    parts: list[Part] = []
    said = False
    for entry in row:
        speaks = any(isinstance(part, Text) for part in entry.parts)
        if said and speaks:
            parts.append(_BETWEEN_ITEMS)
        parts += entry.parts
        said = said or speaks
    return tuple(parts)


def _read(item: Item, kind: type[T], place: str) -> T:
    try:
        return convert(dict(item), kind)
    except InvalidRequest as exc:
        param = f"{place}.{exc.param}" if exc.param else place
        raise InvalidRequest(f"{place}.{exc}" if exc.param else str(exc), param=param) from exc


def _message(item: Item, place: str) -> Entry:
    wire = _read(item, MessageItem, place)
    role = _ROLES.get(wire.role)
    if role is None:
        names = ", ".join(sorted(_ROLES))
        raise InvalidRequest(f"{place}.role must be one of {names}", param=f"{place}.role")
    content = wire.content if isinstance(wire.content, list) else wire.content or ""
    return Entry(role, content_of(content, f"{place}.content"))


def _call(item: Item, place: str) -> Entry:
    wire = _read(item, CallItem, place)
    arguments = wire.arguments or ""
    empty = not arguments or arguments.isspace()
    return Entry("assistant", (ToolCall(wire.call_id, wire.name, "{}" if empty else arguments),))


def _custom_call(item: Item, place: str) -> Entry:
    wire = _read(item, CustomCallItem, place)
    arguments = msgspec.json.encode({INPUT_FIELD: wire.input or ""}).decode()
    return Entry("assistant", (ToolCall(wire.call_id, wire.name, arguments),))


def _output(item: Item, place: str) -> Entry:
    wire = _read(item, OutputItem, place)
    parts = content_of(wire.output, f"{place}.output")
    return Entry("tool", (ToolResult(wire.call_id, parts, name=wire.name or ""),))


def _search_call(item: Item, place: str) -> Entry:
    wire = _read(item, SearchItem, place)
    told = wire.arguments if isinstance(wire.arguments, dict) else {}
    call_id, arguments = wire.call_id, msgspec.json.encode(told).decode()
    return Entry("assistant", (ToolCall(call_id, SEARCH, arguments),) if call_id else ())


def _search_output(item: Item, place: str) -> Entry:
    """What was found is among the tools that are told."""
    wire = _read(item, SearchItem, place)
    if not wire.call_id:
        return Entry("assistant", ())
    found = ", ".join(tool.name for tool in tools_of(wire.tools)[0])
    text = f"Tools that can be called from here on: {found}" if found else "No tools found."
    return Entry("tool", (ToolResult(wire.call_id, (Text(text),), name=SEARCH),))


def _reasoning(item: Item, place: str) -> Entry:
    wire = _read(item, ReasoningItem, place)
    text = texts_of(wire.content) or texts_of(wire.summary)
    sealed = wire.encrypted_content or ""
    if sealed.startswith(REDACTED):
        part = Reasoning(redacted=sealed.removeprefix(REDACTED))
    else:
        part = Reasoning(text, sealed)
    return Entry("assistant", (part,) if text or sealed else ())


def _compaction(item: Item, place: str) -> Entry:
    """Only the domain can open it: it goes on as it is."""
    _read(item, CompactionItem, place)
    return Entry("system", (Unknown(COMPACTION, item),))


def _is_compaction(entry: Entry) -> bool:
    return any(isinstance(part, Unknown) and part.kind == COMPACTION for part in entry.parts)


def _trigger(item: Item, place: str) -> Entry:
    """No message: it says where the conversation stood when a compaction was asked for."""
    return Entry("", (_ASKED_TO_COMPACT,))


_READERS: Mapping[str, Callable[[Item, str], Entry]] = {
    MESSAGE: _message,
    "function_call": _call,
    "custom_tool_call": _custom_call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "tool_search_call": _search_call,
    SEARCH_OUTPUT: _search_output,
    "reasoning": _reasoning,
    COMPACTION: _compaction,
    TRIGGER: _trigger,
}
