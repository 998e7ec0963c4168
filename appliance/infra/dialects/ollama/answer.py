"""What Ollama answers, in our words: lines of a stream, and a whole answer.  Step 6 of the path;
pure.

A line holds `message` (/api/chat) or `response` (/api/generate), the last one `done` and the
counts.  A call comes whole, its arguments as an object, and `done_reason` stays stop after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.stream import Answer, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage, count_of

_encode = msgspec.json.Encoder().encode
# load and unload: an answer to no messages, which is empty and complete.
_FINISH = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}


class AnswerReader:
    """The lines of one answer, in order.  `own`: the request came in this dialect, so the deltas
    keep what they were read from.  `done` once the last line was read."""

    __slots__ = ("_called", "_own", "done")

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._called = False
        self.done = False

    def read(self, line: dict[str, Any]) -> Sequence[Delta]:
        """The steps of one line, never none: thoughts, then text, then calls."""
        message = line.get("message")
        model = line.get("model")
        if not isinstance(message, dict):  # of /api/generate, where the line is its own message
            message = line
            text = line.get("response")
        else:
            text = message.get("content")
        thinking, calls = message.get("thinking"), message.get("tool_calls")
        # By position, as one is made per chunk.
        delta = Delta(
            0,
            text if isinstance(text, str) else "",
            model=model if isinstance(model, str) else "",
            source=line if self._own else None,
        )
        steps: Sequence[Delta] = (delta,)
        if thinking or calls:
            steps = self._split(delta, thinking, calls)
        if line.get("done") is True:
            self._finish(steps[-1], line)
        return steps

    def _split(self, delta: Delta, thinking: Any, calls: Any) -> Sequence[Delta]:
        """A delta says one thing, and here a line may say three."""
        steps = []
        if isinstance(thinking, str) and thinking:
            steps.append(Delta(reasoning=thinking, model=delta.model))
        if delta.text:
            steps.append(Delta(text=delta.text, model=delta.model))
        if called := _calls(calls):
            self._called = True
            steps.append(Delta(tool_calls=called, model=delta.model))
        if len(steps) < 2:
            step = steps[0] if steps else delta
            step.source = delta.source
        elif delta.source is not None:
            for step in steps[:-1]:
                step.source = {**_only(delta.source, step), "done": False}
            steps[-1].source = _only(delta.source, steps[-1])
        return steps or (delta,)

    def _finish(self, delta: Delta, line: Mapping[str, Any]) -> None:
        self.done = True
        delta.usage = usage_of(line)
        reason = line.get("done_reason")
        told = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
        delta.finish_reason = "tool_calls" if self._called and told == "stop" else told


def answer_of(body: dict[str, Any], *, own: bool) -> Answer:
    """A whole answer of the once shape."""
    whole = Collector()
    steps = AnswerReader(own=False).read({**body, "done": True})
    for step in steps:
        for number, call in enumerate(step.tool_calls):
            call.index = number
    whole.add(steps)
    return Answer(whole.choices, whole.usage, whole.model, source=body if own else None)


def usage_of(line: Mapping[str, Any]) -> Usage | None:
    """The counts of a last line; a prompt read from the cache may have none."""
    given, made = count_of(line.get("prompt_eval_count")), count_of(line.get("eval_count"))
    if given is None and made is None:
        return None
    return Usage(given, made)


def _calls(calls: Any) -> list[ToolCallDelta]:
    if not isinstance(calls, list):
        return []
    return [
        step
        for call in calls
        if isinstance(call, dict) and isinstance(function := call.get("function"), dict)
        if (step := _call(call, function)).name
    ]


def _call(call: Mapping[str, Any], function: Mapping[str, Any]) -> ToolCallDelta:
    index, name, call_id = function.get("index"), function.get("name"), call.get("id")
    arguments = function.get("arguments")
    return ToolCallDelta(
        index if isinstance(index, int) else -1,
        call_id if isinstance(call_id, str) else "",
        name if isinstance(name, str) else "",
        arguments if isinstance(arguments, str) else _encode(arguments or {}).decode(),
    )


def _only(line: dict[str, Any], step: Delta) -> dict[str, Any]:
    """The line with nothing in it but what `step` says."""
    nested = isinstance(line.get("message"), dict)
    message = dict(line["message"] if nested else line)
    if not step.reasoning:
        message.pop("thinking", None)
    if not step.text:
        message["content" if nested else "response"] = ""
    if not step.tool_calls:
        message.pop("tool_calls", None)
    return {**line, "message": message} if nested else message
