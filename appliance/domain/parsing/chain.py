"""The parser chain of one exchange: tool call → reasoning → vision → output.  Step 7 of the path.

A stage takes one delta of one choice and gives none, one or several; what it holds back it gives
when it knows, or at `end`.  Any split of the same text gives the same conversation.  The stages of
a choice are its lane (lane.py), made from the model's `Parsing`: which stages are on, and the
family that says which syntaxes it writes.  Vision works on the request (domain/chat/media.py); here
it has nothing to do.  Pure.

A delta nothing is found in leaves as the object that came.  A choice that is prose from its first
letter on never gets a lane (shortcut.py); in one that has stages, text without a character of
interest is not even looked at twice.
"""

from collections.abc import Sequence
from dataclasses import replace

from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.logprobs import within
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.parsing.lane import STAGES, UNLISTED_STAGES, Lane, Parsing, make_lane
from appliance.domain.parsing.shortcut import LETTER, Prose, Shortcut, shortcut_of

__all__ = ["STAGES", "UNLISTED_STAGES", "Chain", "Parsing"]


class Chain:
    """The stages of one exchange."""

    def __init__(self, parsing: Parsing, request: ChatRequest) -> None:
        self._parsing = parsing
        self._request = request
        self._shortcut = shortcut_of(parsing, request)
        self._prose: dict[int, Prose] = {}  # choices in which nothing was found so far
        self._lanes: dict[int, Lane] = {}
        self._stopped = 0  # choices that met a stop string
        self.stopped = False  # all have: the rest of the stream is not wanted

    def feed(self, delta: Delta) -> Sequence[Delta]:
        """The steps to hand on in place of `delta`, in order; often `delta` itself."""
        lane = self._lanes.get(delta.index)
        if lane is None:
            if self._shortcut is not None:
                prose = self._prose.get(delta.index)
                if prose is None:
                    prose = self._prose[delta.index] = Prose(self._shortcut)
                if prose.takes(delta):
                    return prose.ending.feed(delta)
            lane = self._lanes[delta.index] = self._lane(delta.index)
            return lane.feed(delta)
        text = delta.text
        if (
            text
            and lane.search is not None
            and lane.search(text) is None
            and delta.finish_reason is None
            and not delta.tool_calls
            and not delta.reasoning
        ):
            return (_as_reasoning(delta),) if lane.thinking else (delta,)
        return lane.feed(delta)

    def end(self) -> Sequence[Delta]:
        """What was held back of all choices."""
        held = [delta for prose in self._prose.values() for delta in prose.ending.end()]
        return held + [delta for lane in self._lanes.values() for delta in lane.end()]

    def answer(self, answer: Answer) -> Answer:
        """A whole answer, parsed as its text would be in a stream; itself when nothing changes."""
        choices = tuple(self._parsed(choice) for choice in answer.choices)
        if all(new is old for new, old in zip(choices, answer.choices, strict=True)):
            return answer
        return replace(answer, choices=choices, altered=True)

    def _parsed(self, choice: Choice) -> Choice:
        if self._shortcut is not None and _is_prose(choice, self._shortcut):
            return choice
        deltas = _deltas(choice)
        if deltas is None:
            return choice
        lane = make_lane(self._parsing, self._request, choice.index, self._note_stop)
        steps = [step for delta in deltas for step in lane.feed(delta)]
        steps += lane.end()
        if len(steps) == len(deltas) and all(
            new is old for new, old in zip(steps, deltas, strict=True)
        ):
            return choice
        collector = Collector()
        collector.add(steps)
        return replace(collector.choices[0], index=choice.index)

    def _lane(self, index: int) -> Lane:
        """The lane of a choice, as far as that has come."""
        lane = make_lane(self._parsing, self._request, index, self._note_stop)
        prose = self._prose.pop(index, None)
        if prose is not None:
            if prose.begun:
                lane.feed(Delta(index, LETTER))
            lane.ending = prose.ending
        return lane

    def _note_stop(self) -> None:
        self._stopped += 1
        self.stopped = self._stopped >= max(1, self._request.options.n or 1)


def _is_prose(choice: Choice, shortcut: Shortcut) -> bool:
    parts = choice.parts
    if len(parts) != 1 or choice.finish_reason == "tool_calls":
        return False
    return isinstance(parts[0], Text) and shortcut.is_plain(parts[0].text, begun=False)


def _as_reasoning(delta: Delta) -> Delta:
    return Delta(
        delta.index, "", delta.text, (), None, delta.usage, delta.model, delta.source, True
    )


def _deltas(choice: Choice) -> list[Delta] | None:
    """The steps a whole choice could have come in; None when it has a part no step can say."""
    deltas: list[Delta] = []
    calls = said = 0
    for part in choice.parts:
        if isinstance(part, Refusal):
            deltas.append(Delta(choice.index, refusal=part.text))
        elif isinstance(part, Text):
            delta = Delta(choice.index, part.text)
            delta.logprobs = within(choice.logprobs, said, len(part.text))
            said += len(part.text)
            deltas.append(delta)
        elif isinstance(part, Reasoning):
            delta = Delta(choice.index, reasoning=part.text, signature=part.signature)
            delta.redacted = part.redacted
            deltas.append(delta)
        elif isinstance(part, ToolCall):
            step = ToolCallDelta(calls, part.id, part.name, part.arguments, part.extra or None)
            deltas.append(Delta(choice.index, tool_calls=(step,)))
            calls += 1
        else:
            return None
    if choice.finish_reason:
        finish = Delta(choice.index, finish_reason=choice.finish_reason)
        finish.stop_sequence = choice.stop_sequence
        deltas.append(finish)
    return deltas
