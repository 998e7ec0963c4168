"""The objects of a chat completion, once and in chunks, as OpenAI-compatible servers write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.fakes.actions import Received

CREATED = 1_700_000_000
ID = "chatcmpl-scripted0001"

Usage = Literal["last", "finish", "none"]


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
            message[self.thoughts_field] = "".join(self.thoughts)
        if self.calls:
            message["tool_calls"] = [_tool_call(*call) for call in self.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        answer = envelope("chat.completion", self.model or received.model) | {"choices": [choice]}
        return answer if self.usage == "none" else answer | {"usage": self.counts()}

    def chunks(self, received: Received) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{self.thoughts_field: piece} for piece in self.thoughts]
        deltas += [{"content": piece} for piece in self.pieces]
        deltas += _tool_deltas(self.calls)
        base = envelope("chat.completion.chunk", self.model or received.model)
        chunks = [base | {"choices": [delta(change, None)]} for change in deltas]
        if self.finish is not None:
            chunks.append(base | {"choices": [delta({}, self.finish)]})
        if self.usage == "finish":
            chunks[-1] = chunks[-1] | {"usage": self.counts()}
        elif self.usage == "last" and _asked_for_usage(received):
            chunks = [chunk | {"usage": None} for chunk in chunks]
            chunks.append(base | {"choices": [], "usage": self.counts()})
        return chunks


def envelope(kind: str, model: str) -> dict[str, Any]:
    return {"id": ID, "object": kind, "created": CREATED, "model": model}


def delta(change: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": change, "logprobs": None, "finish_reason": finish_reason}


def _tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tool_deltas(calls: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, (call_id, name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        deltas.append({"tool_calls": [{"index": index} | _tool_call(call_id, name, "")]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in (arguments[:half], arguments[half:])
        ]
    return deltas


def _asked_for_usage(received: Received) -> bool:
    options = received.json.get("stream_options") or {}
    return bool(options.get("include_usage"))
