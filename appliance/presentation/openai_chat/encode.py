"""From deltas and answers to OpenAI's chunks and body.  Step 8 of the path; pure.

What is particular to chat: the role in each choice's first chunk, reasoning under both of its
names and never inside the content, tool calls whole or as steps and never an empty list, and the
finish reason of a tool call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from appliance.domain.conversation.parts import Reasoning, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Choice, Delta, ToolCallDelta
from appliance.presentation.openai_answer import AnswerEncoder, Wire

# What a message or step says in words of ours, and so is made again with it.
_SPOKEN = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call"}
)


def encoder(request: ChatRequest, trace_id: str, created: int) -> "ChatEncoder":
    """One for each exchange."""
    return ChatEncoder(request, trace_id, created)


@dataclass(slots=True)
class _Progress:
    """What has gone out of one choice: its reasoning since the last signature, and how many
    details."""

    called: bool = False
    details: int = 0
    thought: list[str] = field(default_factory=list)


class ChatEncoder(AnswerEncoder):
    """Encoder of one exchange."""

    ID_PREFIX = "chatcmpl-"
    ONCE = "chat.completion"
    CHUNK = "chat.completion.chunk"
    EMPTY_STEP: ClassVar[Mapping[str, Any]] = {"index": 0, "delta": {}, "finish_reason": None}

    def __init__(self, request: ChatRequest, trace_id: str, created: int) -> None:
        super().__init__(request, trace_id, created)
        self._choices: dict[int, _Progress] = {}
        # The form before tools: one call, `function_call`, and a finish reason of that name.
        self._legacy = "functions" in request.params and "tools" not in request.params

    def settle(self, choice: Wire, delta: Delta) -> None:
        """See AnswerEncoder.settle."""
        step = choice.get("delta")
        if not isinstance(step, dict):
            step = choice["delta"] = {}
        index = choice["index"] = delta.index
        if (progress := self._choices.get(index)) is None:
            progress = self._choices[index] = _Progress()
            step["role"] = "assistant"
            step.setdefault("content", "")
        elif "role" in step:
            del step["role"]
        if delta.reasoning:
            step["reasoning_content"] = step["reasoning"] = delta.reasoning
        elif not delta.text and step.get("content"):
            step["content"] = ""  # it is no text
        if (
            "tool_calls" in step
        ):  # litellm#29286: calls are in delta.tool_calls, here is an empty list
            del step["tool_calls"]
        reason = delta.finish_reason or choice.get("finish_reason")
        choice["finish_reason"] = self._finish(reason, progress.called) if reason else None

    def make(self, delta: Delta, given: Mapping[str, Any]) -> Wire:
        """See AnswerEncoder.make."""
        step = _unspoken(given.get("delta")) if given else {}
        index = delta.index
        if (progress := self._choices.get(index)) is None:
            progress = self._choices[index] = _Progress()
            step["role"] = "assistant"
            step["content"] = None if delta.tool_calls else ""
        if delta.reasoning:
            step["reasoning_content"] = step["reasoning"] = delta.reasoning
            progress.thought.append(delta.reasoning)
        elif progress.thought and (delta.text or delta.tool_calls or delta.refusal):
            progress.thought.clear()  # a block that nobody signed
        if delta.text:
            step["content"] = delta.text
        if delta.refusal:
            step["refusal"] = delta.refusal
        if delta.tool_calls:
            progress.called = True
            step |= self._steps(delta.tool_calls)
        if (delta.signature or delta.redacted) and "reasoning_details" not in step:
            step["reasoning_details"] = _signed(delta, progress)
        reason = delta.finish_reason
        if reason:
            reason = self._finish(reason, progress.called)
        return {**given, "index": index, "delta": step, "finish_reason": reason}

    def settled(self, choice: Choice, given: Mapping[str, Any]) -> Wire:
        """See AnswerEncoder.settled."""
        sent = given.get("message")
        message = dict(sent) if isinstance(sent, dict) else {}
        message["role"] = "assistant"
        if not isinstance(message.setdefault("content", None), str | None):
            message["content"] = choice.text or None
        called = False
        if not _is_text_alone(choice, message):
            if reasoning := choice.reasoning:
                message["reasoning_content"] = message["reasoning"] = reasoning
            calls = message.pop("tool_calls", None)
            if calls:
                message["tool_calls"] = _calls(choice.tool_calls, calls)
            called = bool(choice.tool_calls or message.get("tool_calls"))
        return self._row(choice, given, message, called)

    def whole(self, choice: Choice, given: Mapping[str, Any]) -> Wire:
        """See AnswerEncoder.whole."""
        calls = choice.tool_calls
        message = _unspoken(given.get("message"))
        message["role"] = "assistant"
        refusal = choice.refusal or None
        message["content"] = choice.text or (None if calls or refusal else "")
        if reasoning := choice.reasoning:
            message["reasoning_content"] = message["reasoning"] = reasoning
        details = _details(part for part in choice.parts if isinstance(part, Reasoning))
        if details and "reasoning_details" not in message:
            message["reasoning_details"] = details
        if refusal:
            message["refusal"] = refusal
        if calls and self._legacy:
            message["function_call"] = _function(calls[0])
        elif calls:
            message["tool_calls"] = list(map(_call, calls))
        return self._row(choice, given, message, bool(calls))

    def _row(self, choice: Choice, given: Mapping[str, Any], message: Wire, called: bool) -> Wire:
        message.setdefault("refusal", None)
        reason = choice.finish_reason or given.get("finish_reason")
        finish = self._finish(reason, called) if reason else None
        row = {"index": choice.index, "message": message, "logprobs": None}
        return {**row, **given, "index": choice.index, "message": message, "finish_reason": finish}

    def _finish(self, reason: str, called: bool) -> str:
        """Many local servers say `stop` after a tool call."""
        if reason == "tool_calls" or (called and reason == "stop"):
            return "function_call" if self._legacy else "tool_calls"
        return reason

    def _steps(self, steps: Iterable[ToolCallDelta]) -> Wire:
        if not self._legacy:
            return {"tool_calls": [_step(step) for step in steps]}
        first = next((step for step in steps if step.index == 0), None)
        if first is None:  # the legacy form has one call only
            return {}
        named = {"name": first.name} if first.name else {}
        return {"function_call": {**named, "arguments": first.arguments}}


def _is_text_alone(choice: Choice, message: Wire) -> bool:
    """True for what most answers are; nothing needs setting right there."""
    parts = choice.parts
    return len(parts) == 1 and type(parts[0]) is Text and "tool_calls" not in message


def _unspoken(given: Any) -> Wire:
    """What a message or step says that we have no word for."""
    if not isinstance(given, dict):
        return {}
    return {name: value for name, value in given.items() if name not in _SPOKEN}


def _step(step: ToolCallDelta) -> Wire:
    """`id`, `type` and `name` are in the first step of a call only, its index in each."""
    if step.id or step.name:
        function = {"name": step.name, "arguments": step.arguments}
        opened = {"index": step.index, "id": step.id, "type": "function", "function": function}
        return {**step.extra, **opened} if step.extra else opened
    later: Wire = {"index": step.index, "function": {"arguments": step.arguments}}
    return {**step.extra, **later} if step.extra else later


def _call(call: ToolCall) -> Wire:
    return {**call.extra, "id": call.id, "type": "function", "function": _function(call)}


def _calls(calls: Sequence[ToolCall], sent: Any) -> Any:
    """The calls as sent, with what the domain made of their ids and empty arguments."""
    if not isinstance(sent, list) or len(sent) != len(calls):
        return sent
    return [{**own, **_call(call)} for call, own in zip(calls, sent, strict=True)]


def _function(call: ToolCall) -> Wire:
    return {"name": call.name, "arguments": call.arguments}


def _signed(delta: Delta, progress: _Progress) -> list[Wire]:
    """The detail a delta completes: a block of reasoning, which has gone out already, once more
    and whole, since its signature covers all of its text."""
    block = Reasoning("".join(progress.thought), delta.signature, delta.redacted)
    progress.thought.clear()
    details = _details([block], progress.details)
    progress.details += len(details)
    return details


def _details(blocks: Iterable[Reasoning], start: int = 0) -> list[Wire]:
    """OpenRouter's `reasoning_details` of those blocks that must come back as they are.

    The `index` counts the entries of a choice: accumulators of OpenAI's SDK merge by it.
    """
    details: list[Wire] = []
    for block in blocks:
        index = start + len(details)
        if block.redacted:
            details.append({"type": "reasoning.encrypted", "data": block.redacted, "index": index})
        elif block.signature:
            signed = {"text": block.text, "signature": block.signature}
            details.append({"type": "reasoning.text", **signed, "index": index})
    return details
