"""From deltas and answers to the lines and the body of Ollama's wire.  Step 8 of the path; pure but
for the clocks its lines tell the time by.

A line that came in this dialect goes out again with everything in it.  One we changed, or that came
in another dialect, is made from the neutral fields.  The line that is `done` waits for the end of
the stream, when all there is to count has been counted.  This wire has one choice.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.errors import ErrorView
from appliance.presentation.ollama.calls import Calls, calls_of
from appliance.presentation.ollama.errors import error as error_body
from appliance.presentation.ollama.instants import Instants
from appliance.presentation.ollama.lines import Line, encode_json, head, shape_of
from appliance.presentation.sources import sources_field

_DONE_REASONS = {"tool_calls": "stop"}  # a call ends an answer like any other
_DONE = b'"done":true'


def encoder(request: ChatRequest, trace_id: str, created: int) -> "OllamaEncoder":
    """One for each exchange."""
    return OllamaEncoder(request, Instants())


class OllamaEncoder:
    """Encoder of one exchange; see Encoder in presentation/surface.py."""

    def __init__(self, request: ChatRequest, instants: Instants) -> None:
        self._shape = shape_of(request)
        self._instants = instants
        self._text_open = b'"' + self._shape.text_open
        self._thinking_open = b'"' + self._shape.thinking_open
        self._close = self._shape.close
        self._calls = Calls()
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._first_ns = 0  # from the beginning to the first content
        self._last: Line = {}  # the backend's own last line
        self._remade: Line | None = None  # the source last used for a line we made
        self._passing = False  # the backend's own bytes go out
        self._held = b""  # its last line, as it came
        self._name(request.model)

    def named(self, model: str) -> None:
        """Use `model` where the client named none."""
        if self._model in ("", "auto"):
            self._name(model)

    def once(self, answer: Answer, sources: tuple[Hit, ...] | None) -> bytes:
        """See Encoder.once."""
        if answer.raw and sources is None:
            return answer.raw
        choice, given = answer.first, answer.source or {}
        self._usage, self._finish_reason = answer.usage, choice.finish_reason
        calls = calls_of(choice.tool_calls, None if answer.altered else _calls_in(given))
        text = choice.text or choice.refusal
        line = self._shape.said(self._over(given), text, choice.reasoning, calls)
        return encode_json(self._ended(line, sources))

    def delta(self, delta: Delta) -> bytes:
        """See Encoder.delta."""
        text, source = delta.text, delta.source
        # The usual step says a piece of text and nothing else.
        if text and source is None and delta.finish_reason is None and delta.index == 0:
            if not self._first_ns:
                self._first_ns = self._instants.elapsed_ns()
            if delta.usage is not None:
                self._usage = delta.usage
            stamp = self._instants.stamp()
            return self._head + stamp + self._text_open + encode_json(text) + self._close
        if delta.raw or self._passing:
            return self._pass(delta)
        if delta.usage is not None:
            self._usage = delta.usage
        if delta.index != 0:
            return b""
        if not self._first_ns and delta.has_content:
            self._first_ns = self._instants.elapsed_ns()
        if source is not None and source.get("done") is True:
            self._last = source
        elif source is not None and not (delta.altered or delta.tool_calls or delta.finish_reason):
            source["model"] = self._model
            return encode_json(source) + b"\n"
        return self._made(delta)

    def end(self, sources: tuple[Hit, ...] | None) -> bytes:
        """See Encoder.end."""
        if self._passing:
            if not self._held or sources is None:
                return self._held
            return _line(self._sourced(msgspec.json.decode(self._held), sources))
        calls = self._rest()
        return calls + _line(self._ended(self._shape.said(self._over(self._last), ""), sources))

    def error(self, view: ErrorView) -> bytes:
        """See Encoder.error."""
        return error_body(view) + b"\n"

    def _name(self, model: str) -> None:
        self._model = model
        self._head = head(model)

    def _pass(self, delta: Delta) -> bytes:
        """The line as it came; of several steps read from one, a single one brings it."""
        self._passing = True
        if not delta.raw:
            return b""
        line, self._held = self._held, b""
        if _DONE in delta.raw.replace(b" ", b""):
            self._held = delta.raw + b"\n"
            return line
        return line + delta.raw + b"\n"

    def _made(self, delta: Delta) -> bytes:
        """The lines of a step, from its neutral fields over those of its source."""
        lines = b""
        if delta.reasoning and delta.source is None:
            stamp, text = self._instants.stamp(), encode_json(delta.reasoning)
            lines += self._head + stamp + self._thinking_open + text + self._close
        elif delta.text or delta.reasoning or delta.refusal:
            lines += self._step(delta, delta.text or delta.refusal, delta.reasoning)
        if delta.tool_calls:
            sent = _calls_in(delta.source) if delta.source and not delta.altered else None
            if whole := self._calls.add(delta.tool_calls, sent):
                lines += self._step(delta, "", "", whole)
        if delta.finish_reason:
            self._finish_reason = delta.finish_reason
            lines += self._rest()
        return lines

    def _step(self, delta: Delta, text: str, thinking: str, calls: Any = None) -> bytes:
        """What else its source says goes out once, with the first line made of it; of the last
        line, with that one."""
        given = delta.source or {}
        if given is self._last or given is self._remade:
            given = {}
        self._remade = delta.source
        line = self._shape.said(self._over(given), text, thinking, calls)
        return _line({**line, "done": False})

    def _rest(self) -> bytes:
        calls = self._calls.rest()
        return self._step(Delta(), "", "", calls) if calls else b""

    def _over(self, given: Mapping[str, Any]) -> Line:
        """The head of a line over that of the backend, which keeps its own time."""
        made_at = given.get("created_at") or self._instants.stamp().decode()
        return {**given, "model": self._model, "created_at": made_at}

    def _ended(self, line: Line, sources: tuple[Hit, ...] | None) -> Line:
        """`line` as the last one."""
        told = self._finish_reason or "stop"
        theirs = line.get("done_reason")
        own = theirs if isinstance(theirs, str) and told == "stop" else ""
        ended = {**line, "done": True, "done_reason": own or _DONE_REASONS.get(told, told)}
        # A backend of this dialect has measured from nearer by than we could.
        if "total_duration" not in line:
            ended |= self._measured()
        return self._sourced(ended, sources)

    def _measured(self) -> Line:
        """Durations as seen from here, in nanoseconds: what is before the first content counts as
        reading the prompt.  What nobody knows is left out, as Ollama leaves out its zeros."""
        total, first = self._instants.elapsed_ns(), self._first_ns
        counted = self._usage or Usage()
        told = {
            "total_duration": total,
            "prompt_eval_count": counted.input_tokens,
            "prompt_eval_duration": first or None,
            "eval_count": counted.output_tokens,
            "eval_duration": total - first if first else None,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _sourced(self, line: Line, sources: tuple[Hit, ...] | None) -> Line:
        return line if sources is None else {**line, "x_sources": sources_field(sources)}


def _line(value: Line) -> bytes:
    return encode_json(value) + b"\n"


def _calls_in(line: Mapping[str, Any]) -> Any:
    message = line.get("message")
    return (message if isinstance(message, dict) else line).get("tool_calls")
