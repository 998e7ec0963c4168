"""Add up deltas to the choices they are steps of: the parts in order, adjacent steps merged."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.parts import Part, Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.stream import Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage


@dataclass(slots=True)
class _Growing:
    parts: list[Part] = field(default_factory=list)
    calls: dict[int, int] = field(default_factory=dict)  # index of the call -> place in parts
    finish_reason: str | None = None
    stop_sequence: str | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)


class Collector:
    """Takes parsed deltas (see ToolCallDelta); `choices` is what they add up to so far."""

    def __init__(self) -> None:
        self._choices: dict[int, _Growing] = {}
        self.usage: Usage | None = None
        self.model = ""

    def add(self, deltas: Iterable[Delta]) -> None:
        """The next steps."""
        for delta in deltas:
            if delta.usage is not None:
                self.usage = delta.usage
            self.model = delta.model or self.model
            if delta.has_content:
                self._grow(self._choices.setdefault(delta.index, _Growing()), delta)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """By index; one empty choice when nothing was said."""
        rows = sorted(self._choices.items()) or [(0, _Growing())]
        return tuple(
            Choice(
                index,
                tuple(grown.parts),
                grown.finish_reason,
                grown.stop_sequence,
                tuple(grown.logprobs),
            )
            for index, grown in rows
        )

    def _grow(self, grown: _Growing, delta: Delta) -> None:
        if delta.redacted:
            grown.parts.append(Reasoning(redacted=delta.redacted))
        if delta.reasoning or delta.signature:
            _add_reasoning(grown.parts, delta)
        if delta.text:
            _add_text(grown.parts, Text(delta.text))
            grown.logprobs += delta.logprobs
        if delta.refusal:
            _add_text(grown.parts, Refusal(delta.refusal))
        for step in delta.tool_calls:
            _add_call(grown, step)
        grown.finish_reason = delta.finish_reason or grown.finish_reason
        grown.stop_sequence = delta.stop_sequence or grown.stop_sequence


def _add_text(parts: list[Part], more: Text) -> None:
    last = parts[-1] if parts else None
    if type(last) is type(more) and isinstance(last, Text):
        parts[-1] = type(more)(last.text + more.text)
    else:
        parts.append(more)


def _add_reasoning(parts: list[Part], delta: Delta) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, Reasoning) and not last.signature and not last.redacted:
        parts[-1] = Reasoning(last.text + delta.reasoning, delta.signature)
    else:
        parts.append(Reasoning(delta.reasoning, delta.signature))


def _add_call(grown: _Growing, step: ToolCallDelta) -> None:
    at = grown.calls.get(step.index)
    if at is None:
        grown.calls[step.index] = len(grown.parts)
        grown.parts.append(ToolCall(step.id, step.name, step.arguments, step.extra or {}))
        return
    call = grown.parts[at]
    assert isinstance(call, ToolCall)
    grown.parts[at] = ToolCall(
        call.id, call.name, call.arguments + step.arguments, step.extra or call.extra
    )
