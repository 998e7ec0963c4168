"""From deltas and answers to OpenAI's chunks and body.  Step 8 of the path; pure.

A chunk that came in this dialect goes out again with everything in it; only what OpenAI's wire
settles is set right: id, created and model the same in all, the role in each choice's first chunk,
usage once, at the end, and only for a client that asked, `tool_calls` never empty, and the finish
reason of a tool call.
"""

from typing import Any

import msgspec

from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.errors import ErrorView
from appliance.presentation.openai_chat.errors import error as error_body

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


def encoder(request: ChatRequest, trace_id: str, created: int) -> "ChatEncoder":
    """One for each exchange."""
    return ChatEncoder(request, trace_id, created)


class ChatEncoder:
    """Encoder of one exchange."""

    def __init__(self, request: ChatRequest, trace_id: str, created: int) -> None:
        self._head = {"id": f"chatcmpl-{trace_id}", "created": created, "model": request.model}
        self._include_usage = request.include_usage
        self._started: set[int] = set()
        self._called: set[int] = set()
        self._usage: Usage | None = None

    def named(self, model: str) -> None:
        """Use `model` where the client named none."""
        if self._head["model"] in ("", "auto"):
            self._head["model"] = model

    def once(self, answer: Answer, sources: tuple[Hit, ...] | None) -> bytes:
        body = dict(answer.source) if answer.source is not None else _body_of(answer)
        body.update(self._head, object="chat.completion")
        body["choices"] = [_settle_choice(choice) for choice in body.get("choices", ())]
        if sources is not None:
            body["x_sources"] = _sources(sources)
        return _encode(body)

    def delta(self, delta: Delta) -> bytes:
        if delta.usage is not None:
            self._usage = delta.usage
        chunk = delta.source
        if chunk is None:
            if not delta.has_content:
                return b""
            chunk = {"choices": [_choice_of(delta)]}
        choices = chunk.get("choices")
        if not choices:
            return b""
        for choice in choices:
            self._settle(choice)
        chunk.update(self._head)
        chunk["object"] = "chat.completion.chunk"
        if self._include_usage:
            chunk["usage"] = None
        else:
            chunk.pop("usage", None)
        return b"data: %b\n\n" % _encode(chunk)

    def end(self, sources: tuple[Hit, ...] | None) -> bytes:
        frames = b""
        if self._include_usage:
            frames += self._last({"usage": _usage(self._usage)}, sources)
        elif sources is not None:
            frames += self._last({}, sources)
        return frames + DONE

    def error(self, view: ErrorView) -> bytes:
        return b"data: %b\n\n" % error_body(view)

    def _last(self, fields: dict[str, Any], sources: tuple[Hit, ...] | None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [], **fields}
        if sources is not None:
            chunk["x_sources"] = _sources(sources)
            if "usage" not in fields:
                # A client that did not ask for usage may index choices[0]: give it an empty step.
                chunk["choices"] = [{"index": 0, "delta": {}, "finish_reason": None}]
        return b"data: %b\n\n" % _encode(chunk)

    def _settle(self, choice: dict[str, Any]) -> None:
        index = choice.setdefault("index", 0)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
        if index not in self._started:
            self._started.add(index)
            delta["role"] = "assistant"
            delta.setdefault("content", "")
        else:
            delta.pop("role", None)
        if "tool_calls" in delta:
            if delta["tool_calls"]:
                self._called.add(index)
            else:
                del delta["tool_calls"]
        if choice.get("finish_reason") == "stop" and index in self._called:
            choice["finish_reason"] = "tool_calls"
        else:
            choice.setdefault("finish_reason", None)


def _settle_choice(choice: dict[str, Any]) -> dict[str, Any]:
    message = dict(choice.get("message") or {})
    message["role"] = "assistant"
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    finish = choice.get("finish_reason")
    if message.get("tool_calls"):
        finish = "tool_calls" if finish == "stop" else finish
    else:
        message.pop("tool_calls", None)
    return {"index": 0, "logprobs": None, **choice, "message": message, "finish_reason": finish}


def _body_of(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = list(answer.tool_calls)
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"choices": [choice], "usage": _usage(answer.usage)}


def _choice_of(delta: Delta) -> dict[str, Any]:
    step: dict[str, Any] = {"content": delta.text} if delta.text else {}
    if delta.tool_calls:
        step["tool_calls"] = list(delta.tool_calls)
    return {"index": delta.index, "delta": step, "finish_reason": delta.finish_reason}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    """The backend's own object where there is one; null when nobody counted."""
    if usage is None:
        return None
    if usage.source:
        return dict(usage.source)
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _sources(hits: tuple[Hit, ...]) -> list[dict[str, Any]]:
    return [{"document": h.document, "chunk": h.chunk, "score": round(h.score, 4)} for h in hits]
