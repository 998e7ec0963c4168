"""The objects of a chat completion, once and in chunks, as OpenAI-compatible servers write them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.fakes.actions import Received

CREATED = 1_700_000_000
ID = "chatcmpl-scripted0001"

Usage = Literal["last", "finish", "none"]
# How calls are streamed: name first and arguments in two halves; the same without `index`; all of a
# call in one step, as Gemini and Ollama do, without `index` and `id`; the same with arguments as an
# object; arguments only in the last step, beside the finish reason; the one call before tools.
Calls = Literal["halves", "no_index", "whole", "object", "at_end", "legacy"]
BOTH = "both"  # as `thoughts_field`: under reasoning_content and reasoning


@dataclass(frozen=True)
class ChatObjects:
    """What `chat` says, as the objects of the wire."""

    pieces: list[str]
    thoughts: list[str]
    thoughts_field: str
    calls: Sequence[tuple[str, str, str]]
    finish: str | None
    usage: Usage
    prompt_tokens: int
    model: str
    style: Calls = "halves"
    empty_calls: bool = False  # `tool_calls: []` beside every text
    stop_reason: str | int | None = None  # vLLM's: the stop string, or a token's number
    refusal: Sequence[str] = ()

    def counts(self) -> dict[str, int]:
        made = len(self.pieces) + len(self.thoughts)
        total = self.prompt_tokens + made
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": total,
        }

    def once(self, received: Received) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.pieces) or None}
        if self.thoughts:
            message |= self._thought("".join(self.thoughts))
        if self.refusal:
            message["refusal"] = "".join(self.refusal)
        if self.calls and self.style == "legacy":
            message["function_call"] = _tool_call(*self.calls[0])["function"]
        elif self.calls:
            message["tool_calls"] = [_styled(call, self.style) for call in self.calls]
        elif self.empty_calls:
            message["tool_calls"] = []
        likely = logprobs([*self.thoughts, *self.pieces], received)
        choice = {"index": 0, "message": message, "logprobs": likely, "finish_reason": self.finish}
        if self.stop_reason is not None:
            choice["stop_reason"] = self.stop_reason
        answer = envelope("chat.completion", self.model or received.model) | {"choices": [choice]}
        return answer if self.usage == "none" else answer | {"usage": self.counts()}

    def chunks(self, received: Received) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [self._thought(piece) for piece in self.thoughts]
        beside: dict[str, Any] = {"tool_calls": []} if self.empty_calls else {}
        deltas += [{"content": piece} | beside for piece in self.pieces]
        deltas += [{"refusal": piece} for piece in self.refusal]
        deltas += _tool_deltas(self.calls, self.style)
        base = envelope("chat.completion.chunk", self.model or received.model)
        chunks = [base | {"choices": [delta(change, None)]} for change in deltas]
        for chunk in chunks:
            said = chunk["choices"][0]["delta"]
            token = said.get("content") or said.get(self.thoughts_field)
            chunk["choices"][0]["logprobs"] = logprobs([token] if token else [], received)
        if self.finish is not None:
            last = delta(_at_end(self.calls, self.style), self.finish)
            if self.stop_reason is not None:
                last["stop_reason"] = self.stop_reason
            chunks.append(base | {"choices": [last]})
        if self.usage == "finish":
            chunks[-1] = chunks[-1] | {"usage": self.counts()}
        elif self.usage == "last" and _asked_for_usage(received):
            chunks = [chunk | {"usage": None} for chunk in chunks]
            chunks.append(base | {"choices": [], "usage": self.counts()})
        return chunks

    def _thought(self, text: str) -> dict[str, Any]:
        if self.thoughts_field == BOTH:
            return {"reasoning_content": text, "reasoning": text}
        return {self.thoughts_field: text}


def envelope(kind: str, model: str) -> dict[str, Any]:
    return {"id": ID, "object": kind, "created": CREATED, "model": model}


def delta(change: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": change, "logprobs": None, "finish_reason": finish_reason}


def logprobs(tokens: Sequence[str], received: Received) -> dict[str, Any] | None:
    """As vLLM has them, each token as likely as the next; None where nobody asked."""
    if not received.json.get("logprobs"):
        return None
    count = received.json.get("top_logprobs") or 0
    rows = [{"token": t, "logprob": -0.5, "bytes": list(t.encode())} for t in tokens]
    return {"content": [row | {"top_logprobs": [row] * count} for row in rows], "refusal": None}


def _tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _styled(call: tuple[str, str, str], style: Calls) -> dict[str, Any]:
    """A call in one piece."""
    whole = _tool_call(*call)
    if style in ("whole", "object"):
        del whole["id"]
    if style == "object":
        whole["function"]["arguments"] = json.loads(call[2])
    return whole


def _tool_deltas(calls: Sequence[tuple[str, str, str]], style: Calls) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, (call_id, name, arguments) in enumerate(calls):
        place = {} if style == "no_index" else {"index": index}
        half = len(arguments) // 2
        halves = (arguments[:half], arguments[half:])
        if style in ("whole", "object"):
            deltas.append({"tool_calls": [_styled((call_id, name, arguments), style)]})
        elif style == "legacy":
            deltas.append({"function_call": {"name": name, "arguments": ""}})
            deltas += [{"function_call": {"arguments": part}} for part in halves]
        else:
            deltas.append({"tool_calls": [place | _tool_call(call_id, name, "")]})
            deltas += [
                {"tool_calls": [place | {"function": {"arguments": part}}]}
                for part in halves
                if style != "at_end"
            ]
    return deltas


def _at_end(calls: Sequence[tuple[str, str, str]], style: Calls) -> dict[str, Any]:
    if style != "at_end":
        return {}
    steps = enumerate(arguments for _, _, arguments in calls)
    return {"tool_calls": [{"index": n, "function": {"arguments": a}} for n, a in steps]}


def _asked_for_usage(received: Received) -> bool:
    options = received.json.get("stream_options") or {}
    return bool(options.get("include_usage"))
