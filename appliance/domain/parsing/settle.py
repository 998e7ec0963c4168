"""Settles the steps of tool calls, whoever sent them: after it they are as ToolCallDelta says.
Always on; the last of the stages.

Backends leave the index out, begin it at 1, give every call the same one, send no id, the id of a
call of an earlier turn, id and name with every step, the name after the id, all of the arguments
once more at the end, or none at all.  Whole names are never joined.  A call whose name never comes
cannot be made and is dropped.
The finish reason is made true: tool_calls with calls, stop without.
"""

import json
from dataclasses import dataclass, field, replace

from appliance.domain.conversation.stream import Delta, ToolCallDelta
from appliance.domain.parsing.calls.blocks import JsonEnd
from appliance.domain.parsing.identifiers import CallIds

NO_ARGUMENTS = "{}"


@dataclass(slots=True)
class _Call:
    """`index` is its own once it has begun, -1 before; `sent_index` and `sent_id` the backend's."""

    sent_index: int
    sent_id: str
    index: int = -1
    name: str = ""
    waiting: str = ""  # arguments that came before the name
    pieces: list[str] = field(default_factory=list)
    end: JsonEnd = field(default_factory=JsonEnd)
    whole: bool = False  # its arguments are a complete object


class Settler:
    """One choice's.  `ids` makes an id from the position of a call."""

    wakes = ""

    def __init__(self, index: int, ids: CallIds) -> None:
        self._choice = index
        self._new_ids = ids
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._ids: set[str] = set()
        self._begun = 0

    def feed(self, delta: Delta, out: list[Delta]) -> None:
        """See Stage."""
        steps = list(delta.tool_calls)
        if steps:
            steps = [new for step in steps for new in self._settle(step)]
        reason = delta.finish_reason
        if reason:
            closing = self._closing()
            if closing and delta.text:
                out.append(replace(delta, tool_calls=[], finish_reason=None, altered=True))
                delta = Delta(delta.index, finish_reason=reason, altered=True)
            steps += closing
            reason = self._reason(reason)
        same = len(steps) == len(delta.tool_calls) and reason == delta.finish_reason
        if same and all(new is old for new, old in zip(steps, delta.tool_calls, strict=True)):
            out.append(delta)
        elif steps or reason or delta.text or delta.usage is not None:
            out.append(replace(delta, tool_calls=steps, finish_reason=reason, altered=True))

    def end(self, out: list[Delta]) -> None:
        """See Stage."""
        closing = self._closing()
        if closing:
            out.append(Delta(self._choice, tool_calls=closing, altered=True))

    def _settle(self, step: ToolCallDelta) -> list[ToolCallDelta]:
        call = self._call(step)
        begins = call.index < 0
        call.name = call.name or step.name
        arguments = self._arguments(call, step.arguments)
        if begins and not call.name:
            call.waiting += arguments
            call.sent_id = call.sent_id or step.id
            return []
        if begins:
            call.index, self._begun = self._begun, self._begun + 1
            arguments, call.waiting = call.waiting + arguments, ""
            settled = ToolCallDelta(
                call.index, self._id(call, step.id), call.name, arguments, step.extra
            )
        else:
            settled = ToolCallDelta(call.index, "", "", arguments, step.extra)
            if not arguments and step.extra is None and settled != step:
                return []
        return [step if settled == step else settled]

    def _call(self, step: ToolCallDelta) -> _Call:
        """The call this is a step of."""
        known = self._by_id.get(step.id) if step.id else None
        if step.index < 0:
            last = self._calls[-1] if self._calls else None
            if step.id:
                return known if known and not _again(known, step) else self._new(step)
            if last is None or (step.name and (step.name != last.name or last.whole)):
                return self._new(step)
            return last
        if known is not None and known.sent_index == step.index:
            return known if not _again(known, step) else self._new(step)
        call = self._by_index.get(step.index)
        if call is None:
            # An id that moved to another index is still that call; with a name it is a new one
            # whose backend gives all calls the same id.
            return known if known is not None and not step.name else self._new(step)
        if step.id and call.sent_id:
            return self._new(step)
        if step.name and call.name and (step.name != call.name or _again(call, step)):
            return self._new(step)
        return call

    def _new(self, step: ToolCallDelta) -> _Call:
        call = _Call(step.index, step.id)
        self._calls.append(call)
        if step.index >= 0:
            self._by_index[step.index] = call
        if step.id:
            self._by_id[step.id] = call
        return call

    def _id(self, call: _Call, given: str) -> str:
        told = call.sent_id or given
        if not told or told in self._ids or self._new_ids.told_before(told):
            told = self._new_ids.make(self._choice, call.index)
        self._ids.add(told)
        call.sent_id = call.sent_id or given
        return told

    def _arguments(self, call: _Call, text: str) -> str:
        """What `text` adds.  After a complete object nothing does: it is the whole once more."""
        if call.whole or not text:
            return ""
        if not call.pieces:
            text = text.lstrip()
            if text in ("", "null"):
                return ""
        end = call.end.feed(text) if (call.pieces or text[:1] == "{") else None
        if end is not None:
            text, call.whole = text[:end], True
        call.pieces.append(text)
        return text

    def _closing(self) -> list[ToolCallDelta]:
        """`{}` for the calls that never got arguments."""
        empty = [call for call in self._calls if call.index >= 0 and not call.pieces]
        for call in empty:
            call.pieces.append(NO_ARGUMENTS)
        return [ToolCallDelta(call.index, arguments=NO_ARGUMENTS) for call in empty]

    def _reason(self, told: str) -> str:
        if told == "stop" and self._begun:
            return "tool_calls"
        if told == "tool_calls" and not self._begun:
            return "stop"
        return told


def _again(call: _Call, step: ToolCallDelta) -> bool:
    """True when `step` is a further call and not the complete one once more."""
    if not call.whole or not step.name:
        return False
    if step.name != call.name:
        return True
    return not step.id and not _same_json(step.arguments, "".join(call.pieces))


def _same_json(text: str, other: str) -> bool:
    if not text.strip() or text == other:
        return True
    try:
        return bool(json.loads(text) == json.loads(other))
    except (ValueError, RecursionError):
        return False
