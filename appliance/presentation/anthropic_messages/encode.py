"""From deltas and answers to the events and the body of Messages.  Step 8 of the path; pure.

Neutral fields make the text, thinking and tool_use blocks.  What a backend of this dialect sends
beside them passes through, renumbered: blocks it ran itself, citations, reasons we have no word
for.  Messages has one choice: others are not sent.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.domain.conversation.estimate import estimate_input_tokens
from appliance.domain.conversation.parts import Part, Reasoning, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.anthropic_messages.blocks import TOOL_USE, Blocks
from appliance.presentation.anthropic_messages.errors import error_object
from appliance.presentation.anthropic_messages.frames import MESSAGE_STOP, PING, encode_json, frame
from appliance.presentation.anthropic_messages.message import content, message, stopped
from appliance.presentation.anthropic_messages.usage import usage_object
from appliance.presentation.errors import ErrorView
from appliance.presentation.sources import sources_field

Event = Mapping[str, Any]
_REFUSED = "content_filter"  # what a refusal is here, whatever its backend calls its end
_OF_THE_PROMPT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def encoder(request: ChatRequest, trace_id: str, created: int) -> "MessagesEncoder":
    """One for each exchange."""
    return MessagesEncoder(request, trace_id)


class MessagesEncoder:
    """Encoder of one exchange."""

    def __init__(self, request: ChatRequest, trace_id: str) -> None:
        self._request = request
        self._trace_id = trace_id
        self._head = {"id": f"msg_{trace_id}", "model": request.model}
        self._blocks = Blocks()
        self._started = False
        self._said_chars = 0
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._refused = False
        self._stop_sequence: str | None = None
        self._native = False  # the backend speaks this dialect
        self._opening: Event = {}  # its message_start
        self._ending: Event = {}  # its message_delta
        self._raw = b""  # the last frame that passed as it came

    def named(self, model: str) -> None:
        """Use `model` where the client named none."""
        if self._head["model"] in ("", "auto"):
            self._head["model"] = model

    def once(self, answer: Answer, sources: tuple[Hit, ...] | None) -> bytes:
        if answer.raw and sources is None:
            return answer.raw
        sent = answer.source or (msgspec.json.decode(answer.raw) if answer.raw else {})
        choice = answer.first
        body = message(self._head, sent)
        if answer.altered or not isinstance(sent.get("content"), list):
            body["content"] = content(choice, native=bool(sent))
        body |= stopped(
            _REFUSED if choice.refusal else choice.finish_reason,
            choice.stop_sequence,
            called=bool(choice.tool_calls),
            native=sent,
        )
        self._said_chars = _chars(choice.parts)
        self._usage, self._native = answer.usage, bool(sent)
        body["usage"] = self._counts()
        if sources is not None:
            body["x_sources"] = sources_field(sources)
        return encode_json(body)

    def delta(self, delta: Delta) -> bytes:
        if delta.raw:
            self._raw = delta.raw
            return delta.raw
        text = delta.text
        # The usual step says a piece of text and nothing else.
        if text and self._started and delta.index == 0 and not (delta.finish_reason or delta.usage):
            self._said_chars += len(text)
            return self._blocks.text(text)
        if delta.usage is not None:
            self._usage = delta.usage
        if delta.index != 0:
            return b""
        frames = b"" if delta.source is None else self._beside(delta, delta.source)
        frames += self._content(delta)
        return self._start() + frames if frames and not self._started else frames

    def end(self, sources: tuple[Hit, ...] | None) -> bytes:
        if self._raw:
            return b"" if _is_message_stop(self._raw) else MESSAGE_STOP
        frames = b"" if self._started else self._start()
        frames += self._blocks.close()
        theirs = self._ending.get("delta")
        native = theirs if isinstance(theirs, dict) else {}
        reason = stopped(
            _REFUSED if self._refused else self._finish_reason,
            self._stop_sequence,
            called=self._blocks.called,
            native=native,
        )
        event = {**self._ending, "type": "message_delta", "delta": {**native, **reason}}
        event["usage"] = self._counts()
        if sources is not None:
            # Here, not in message_stop: of that one the SDKs hand on their own copy alone.
            event["x_sources"] = sources_field(sources)
        return frames + frame(event) + MESSAGE_STOP

    def error(self, view: ErrorView) -> bytes:
        return frame({**error_object(view), "request_id": self._trace_id})

    def _content(self, delta: Delta) -> bytes:
        """The frames of what the neutral fields say."""
        blocks = self._blocks
        frames = blocks.redacted(delta.redacted) if delta.redacted else b""
        if delta.reasoning:
            self._said_chars += len(delta.reasoning)
            frames += blocks.thinking(delta.reasoning)
        if delta.signature:
            frames += blocks.signature(delta.signature)
        if delta.text:
            self._said_chars += len(delta.text)
            frames += blocks.text(delta.text)
        if delta.refusal:
            self._refused = True
            self._said_chars += len(delta.refusal)
            frames += blocks.text(delta.refusal)
        for step in delta.tool_calls:
            self._said_chars += len(step.name) + len(step.arguments)
            frames += blocks.call(step, _their_call(delta.source))
        if delta.finish_reason:
            self._finish_reason = delta.finish_reason
            self._stop_sequence = delta.stop_sequence
            frames += blocks.close()
        return frames

    def _beside(self, delta: Delta, event: dict[str, Any]) -> bytes:
        """What an event of this dialect brings beside the neutral fields of its delta."""
        self._native = True
        kind = event.get("type")
        if kind == "message_delta":
            self._ending = event
        elif kind == "message_start":
            self._opening = event
        elif not isinstance(kind, str) or (delta.has_content and not delta.visible):
            return b""  # the neutral fields have said it
        elif kind == "content_block_delta":
            return self._blocks.their_delta(event)
        elif kind == "content_block_start":
            return self._blocks.their_start(event)
        elif kind == "content_block_stop":
            return self._blocks.their_stop(event)
        elif kind == "ping":
            return PING if self._started else b""
        elif kind != "message_stop" and self._started and kind.replace("_", "").isalnum():
            return frame(event)
        return b""

    def _start(self) -> bytes:
        self._started = True
        sent = self._opening.get("message")
        sent = sent if isinstance(sent, dict) else {}
        opening = message(self._head, sent)
        opening |= {"content": [], "stop_reason": None, "stop_sequence": None}
        opening["usage"] = {**self._counts(), **_counted(sent.get("usage")), "output_tokens": 1}
        return frame({"type": "message_start", "message": opening})

    def _counts(self) -> dict[str, Any]:
        usage = self._usage
        known = usage is not None and usage.input_tokens is not None
        return usage_object(
            usage,
            input_estimate=0 if known else estimate_input_tokens(self._request),
            said_chars=self._said_chars,
            native=self._native,
        )


def _counted(usage: Any) -> Event:
    """What the backend counted of the prompt before it answered; empty where it did not, as with
    servers that begin with zeros and tell the figures at the end."""
    if not isinstance(usage, dict) or not isinstance(usage.get("input_tokens"), int):
        return {}
    if not any(usage.get(name) for name in _OF_THE_PROMPT):
        return {}
    return {name: count for name, count in usage.items() if count is not None}


def _their_call(event: dict[str, Any] | None) -> Event | None:
    """The tool_use block as the backend opened it: it may hold more than we have words for."""
    block = event.get("content_block") if event else None
    return block if isinstance(block, dict) and block.get("type") == TOOL_USE else None


def _chars(parts: tuple[Part, ...]) -> int:
    return sum(
        len(part.name) + len(part.arguments)
        if isinstance(part, ToolCall)
        else len(part.text)
        if isinstance(part, Text | Reasoning)
        else 0
        for part in parts
    )


def _is_message_stop(raw: bytes) -> bool:
    return any(
        line.startswith(b"event:") and line[6:].strip() == b"message_stop"
        for line in raw.splitlines()
    )
