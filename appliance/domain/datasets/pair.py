"""One pair on its way into a dataset: what was asked, what was answered, and what came of it.  Read
by infra/postgres/pairs.py, judged by rules.py, divided by split.py; pure."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Context = Literal["pair", "conversation"]  # what stands before the response
ChatMessage = Mapping[str, Any]  # in OpenAI's shape: role, content, tool_calls, tool_call_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """`messages` are those before the response, in OpenAI's shape: the prompt alone, or everything
    that was sent; `tools` what the model could have called, where anybody knows.

    `obstacle` is the reason for which it cannot be said in that shape, one of rules.EXCLUSIONS;
    `rating` -5 to 5, None where whoever asked did not rate; `language` is empty while nobody
    looked.  Tokens and seconds are None where nobody told.

    `sequence` is where PIPELINE has its chat; `place` counts the pairs that were read: of two that
    follow each other there is none between.
    """

    trace_id: str
    correlation_id: str
    conversation_id: str
    created_at: datetime
    messages: tuple[ChatMessage, ...]
    prompt: str
    response: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    model: str = ""
    backend: str = ""
    route: str = ""
    project: str = ""
    finish_reason: str | None = None
    rating: int | None = None
    language: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    duration_s: float | None = None
    time_to_first_token_s: float | None = None
    obstacle: str = ""
    sequence: int = 0
    place: int = 0

    @property
    def answer(self) -> dict[str, Any]:
        """The response as OpenAI's assistant message."""
        if not self.tool_calls:
            return {"role": "assistant", "content": self.response}
        calls = list(self.tool_calls)
        return {"role": "assistant", "content": self.response or None, "tool_calls": calls}

    @property
    def conversation(self) -> list[ChatMessage]:
        """All messages, the response last."""
        return [*self.messages, self.answer]

    @property
    def names_conversation(self) -> bool:
        """Whether the caller said which conversation it is of: else every request is one."""
        return self.conversation_id != self.correlation_id


def said(messages: Sequence[ChatMessage]) -> list[str]:
    """The text of each message, with the names and arguments of its calls."""
    return [" ".join((message.get("content") or "", *_calls(message))) for message in messages]


def chars(messages: Sequence[ChatMessage]) -> int:
    """Characters of text and of calls."""
    texts = (message.get("content") or "" for message in messages)
    return sum(map(len, texts)) + sum(len(text) for m in messages for text in _calls(m))


def normalised(text: str) -> str:
    """As two texts are compared: NFC, each run of white space one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def identity(pair: Pair) -> bytes:
    """sha256 of its messages and response, normalised.  The ids of calls are left out: they are
    new every time."""
    told = [
        [m["role"], normalised(m.get("content") or ""), *map(normalised, _calls(m))]
        for m in pair.conversation
    ]
    return hashlib.sha256(json.dumps(told).encode()).digest()


def _calls(message: ChatMessage) -> list[str]:
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    return [text for function in functions for text in (function["name"], function["arguments"])]
