"""The messages of a chat request as neutral messages.  Called by decode.py; pure.

Each keeps what the client sent as its `source`.  Calls and results of this wire may have no ids,
which other wires insist on: calls are given some, and results go to the calls before them, by the
name of the tool or in their order.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.conversation.encoded import (
    canonical,
    is_data_url,
    parse_data_url,
    sniffed_base64,
)
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Image, Part, Reasoning, Text, ToolCall, ToolResult
from appliance.domain.errors import InvalidRequest
from appliance.presentation.ollama.wire import WireCalled, WireMessage

Source = Mapping[str, Any]
ROLES = ("system", "user", "assistant", "tool")
_encode = msgspec.json.Encoder().encode


def read_messages(sent: Sequence[WireMessage], sources: Sequence[Source]) -> tuple[Message, ...]:
    """In order.  Raises InvalidRequest naming the message or part at fault."""
    calls = _OpenCalls()
    return tuple(
        _message(message, source, f"messages[{at}]", calls)
        for at, (message, source) in enumerate(zip(sent, sources, strict=True))
    )


def images_of(sent: Sequence[str] | None, place: str) -> tuple[Image, ...]:
    """Base64 as clients write it, of the type its bytes tell; `place` is the field that holds the
    list.  Raises InvalidRequest for what is not base64."""
    return tuple(_image(data, f"{place}[{at}]") for at, data in enumerate(sent or ()))


class _OpenCalls:
    """Calls so far without a result.  Nothing here looks through all of them: there may be as many
    as a body holds."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, None] = OrderedDict()  # ids, oldest first
        self._named: defaultdict[str, deque[str]] = defaultdict(deque)  # with those answered by id
        self._made = 0

    def call(self, call_id: str | None, name: str) -> str:
        """The id of a call: its own, else one of ours."""
        told = call_id or self._new()
        self._open[told] = None
        self._named[name].append(told)
        return told

    def result(self, call_id: str | None, name: str) -> str:
        """The id of the call that a result answers."""
        answered = call_id or self._oldest(name) or self._new()
        self._open.pop(answered, None)
        return answered

    def _oldest(self, name: str) -> str:
        """That of this name, any for a result without one; "" where there is none."""
        if not name:
            return next(iter(self._open), "")
        ids = self._named[name]
        while ids:
            if (told := ids.popleft()) in self._open:
                return told
        return ""

    def _new(self) -> str:
        self._made += 1
        return f"call_{self._made}"


def _message(message: WireMessage, source: Source, place: str, calls: _OpenCalls) -> Message:
    if message.role not in ROLES:
        known = ", ".join(ROLES)
        raise InvalidRequest(f"{place}.role must be one of {known}", param=f"{place}.role")
    said: list[Text | Image] = [Text(message.content)] if message.content else []
    said += images_of(message.images, f"{place}.images")
    if message.role == "tool":
        name = message.tool_name or message.name or ""
        call_id = calls.result(message.tool_call_id, name)
        return Message("tool", (ToolResult(call_id, tuple(said), name=name),), source)
    parts: list[Part] = [Reasoning(message.thinking)] if message.thinking else []
    parts += said
    for call in message.tool_calls or ():
        call_id = calls.call(call.id, call.function.name)
        parts.append(ToolCall(call_id, call.function.name, _arguments(call.function, place)))
    return Message(message.role, tuple(parts), source)


def _arguments(called: WireCalled, place: str) -> str:
    given = called.arguments
    if isinstance(given, str):
        return given if given.strip() else "{}"
    try:
        return _encode(given or {}).decode()
    except RecursionError as exc:
        raise InvalidRequest(f"{place}.tool_calls: nested too deep", param=place) from exc


def _image(data: str, place: str) -> Image:
    try:
        if is_data_url(data):
            data = parse_data_url(data)[1]
        data = canonical(data)
    except ValueError as exc:
        raise InvalidRequest(f"{place}: the data is not base64", param=place) from exc
    return Image(sniffed_base64(data), data)
