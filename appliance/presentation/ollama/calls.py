"""Calls of tools on their way to a client of Ollama's wire, which takes them whole and their
arguments as objects.  Called by encode.py; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.domain.conversation.parts import ToolCall
from appliance.domain.conversation.stream import ToolCallDelta

Wire = dict[str, Any]
_decode = msgspec.json.Decoder().decode


class Calls:
    """Those of one answer, which may come in pieces; they leave in the order they began."""

    def __init__(self) -> None:
        self._open: dict[int, _Call] = {}

    def add(self, steps: Sequence[ToolCallDelta], sent: Any = None) -> list[Wire]:
        """The calls that are known to be whole with these steps: those that come in one, and those
        behind which another begins.  `sent` are the calls as a backend of this dialect wrote
        them."""
        whole: list[Wire] = []
        for at, step in enumerate(steps):
            begun = self._open.get(step.index)
            if begun is not None:
                begun.pieces.append(step.arguments)
                continue
            if not step.name:
                continue  # of a call that was whole: only white space can follow
            own = sent[at] if isinstance(sent, list) and len(sent) == len(steps) else None
            self._open[step.index] = _Call(step, [step.arguments], own)
            whole += self._whole()
        return whole

    def rest(self) -> list[Wire]:
        """All others, once nothing more comes."""
        calls, self._open = self._open, {}
        return [call.wire(_object("".join(call.pieces)) or {}) for call in calls.values()]

    def _whole(self) -> list[Wire]:
        """Taken off up to the first that is not.  Asked when a call begins and not with each of
        its pieces: reading the arguments so far again and again would take their square."""
        whole = []
        for index, call in list(self._open.items()):
            arguments = _object("".join(call.pieces))
            if arguments is None:
                break
            whole.append(call.wire(arguments))
            del self._open[index]
        return whole


@dataclass(slots=True)
class _Call:
    first: ToolCallDelta
    pieces: list[str]
    own: Any

    def wire(self, arguments: Mapping[str, Any]) -> Wire:
        return _wire(self.first.index, self.first.id, self.first.name, arguments, self.own)


def calls_of(calls: Sequence[ToolCall], sent: Any = None) -> list[Wire]:
    """Those of a whole answer; `sent` as in Calls.add."""
    own = sent if isinstance(sent, list) and len(sent) == len(calls) else [None] * len(calls)
    return [
        _wire(index, call.id, call.name, _object(call.arguments) or {}, theirs)
        for index, (call, theirs) in enumerate(zip(calls, own, strict=True))
    ]


def _wire(index: int, call_id: str, name: str, arguments: Mapping[str, Any], own: Any) -> Wire:
    given = own if isinstance(own, dict) else {}
    function = given.get("function")
    function = function if isinstance(function, dict) else {}
    told = {**function, "index": index, "name": name, "arguments": arguments}
    return {**given, "id": call_id, "function": told}


def _object(text: str) -> Mapping[str, Any] | None:
    """None where an answer was cut in the middle of it, or goes on."""
    try:
        given = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return given if isinstance(given, dict) else None
