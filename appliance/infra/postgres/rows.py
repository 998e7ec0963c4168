"""A chat event as the rows it becomes.  Pure; `writers/chat.py` sends them in batches."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.infra.postgres.payload import Envelope, json_text


class ChatEvent(Envelope, kw_only=True):
    """`pipeline.knowledge.chat.persist`, as ChatPersist makes it; what is not named here is
    ignored, and what older gateways do not send has a default."""

    status: str
    http_status: int
    host: str = ""
    event_schema: str = msgspec.field(name="schema", default="")
    operation: str = msgspec.field(name="gen_ai.operation.name", default="chat")
    provider: str = msgspec.field(name="gen_ai.provider.name", default="")
    request_model: str = msgspec.field(name="gen_ai.request.model", default="")
    response_model: str = msgspec.field(name="gen_ai.response.model", default="")
    finish_reasons: list[str] = msgspec.field(name="gen_ai.response.finish_reasons", default=[])
    input_tokens: int | None = msgspec.field(name="gen_ai.usage.input_tokens", default=None)
    output_tokens: int | None = msgspec.field(name="gen_ai.usage.output_tokens", default=None)
    cache_read_tokens: int | None = msgspec.field(
        name="gen_ai.usage.cache_read.input_tokens", default=None
    )
    cache_write_tokens: int | None = msgspec.field(
        name="gen_ai.usage.cache_creation.input_tokens", default=None
    )
    reasoning_tokens: int | None = msgspec.field(
        name="gen_ai.usage.reasoning.output_tokens", default=None
    )
    error_type: str = msgspec.field(name="error.type", default="")
    error_message: str = msgspec.field(name="error.message", default="")
    surface: str = ""
    stream: bool = False
    route: str = ""
    router_reason: str = ""
    selected_model: str = ""
    backend: str = ""
    project: str = ""
    key_name: str = ""
    duration_s: float | None = None
    time_to_first_token_s: float | None = None
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    dropped: list[str] = msgspec.field(default_factory=list)
    answer: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = msgspec.field(default_factory=list)
    attempts: list[dict[str, Any]] = msgspec.field(default_factory=list)
    retrieval: dict[str, Any] | None = None

    @property
    def finish_reason(self) -> str | None:
        """Of the one answer there is."""
        return self.finish_reasons[0] if self.finish_reasons else None

    @property
    def model(self) -> str:
        """What answered, as far as anybody said."""
        return self.selected_model or self.response_model or self.request_model


Columns = list[tuple[Any, ...]]
_decoder = msgspec.json.Decoder(ChatEvent)
_canonical = msgspec.json.Encoder(order="deterministic").encode


class ChatRows:
    """Rows of a batch: `contents` by hash, `history` and `pairs` in the order of their columns."""

    def __init__(self) -> None:
        self.contents: dict[bytes, tuple[bytes, str, str | None]] = {}
        self.history: Columns = []
        self.pairs: Columns = []

    def add(self, event: ChatEvent, sequence: int) -> None:
        """Every message, the answer, and the pair when there is one."""
        prompt = ""
        for seq, message in enumerate(event.messages):
            role, text = role_of(message), text_of(message.get("content"))
            prompt = text if role == "user" else prompt
            self._history(event, sequence, seq, role, self._content(message, text), None)
        answer: dict[str, Any] = {"content": event.answer}
        if event.reasoning:
            answer["reasoning"] = event.reasoning
        if event.tool_calls:
            answer["tool_calls"] = event.tool_calls
        hashed = self._content(answer, event.answer)
        told = json_text(detail(event))
        self._history(event, sequence, len(event.messages), "assistant", hashed, told)
        if event.status == "finished" and event.http_status == 200:
            self._pair(event, sequence, prompt)

    def _content(self, message: dict[str, Any], text: str) -> bytes:
        rest = {key: value for key, value in message.items() if key != "role"}
        encoded = _canonical(rest)
        hashed = hashlib.sha256(encoded).digest()
        if hashed not in self.contents:
            plain = len(rest) == 1 and isinstance(rest.get("content"), str)
            self.contents[hashed] = (hashed, text, None if plain else encoded.decode())
        return hashed

    def _history(
        self,
        event: ChatEvent,
        sequence: int,
        seq: int,
        role: str,
        hashed: bytes,
        told: str | None,
    ) -> None:
        self.history.append(
            (
                event.trace_id,
                seq,
                role,
                hashed,
                event.status,
                event.finish_reason if told is not None else None,
                event.correlation_id,
                event.conversation_id,
                sequence,
                told,
                event.created_at,
            )
        )

    def _pair(self, event: ChatEvent, sequence: int, prompt: str) -> None:
        self.pairs.append(
            (
                event.trace_id,
                event.correlation_id,
                event.conversation_id,
                prompt,
                event.answer,
                event.model,
                event.backend,
                event.route,
                event.input_tokens,
                event.output_tokens,
                event.finish_reason,
                json_text(event.tool_calls) if event.tool_calls else None,
                event.project,
                event.key_name,
                event.duration_s,
                event.time_to_first_token_s,
                json_text(event.retrieval) if event.retrieval is not None else None,
                sequence,
                event.created_at,
            )
        )


def decode(data: bytes) -> ChatEvent:
    """Of any release.  Raises msgspec.DecodeError (ValidationError is one) when it is not a chat
    event."""
    return _decoder.decode(data)


def detail(event: ChatEvent) -> dict[str, Any]:
    """Everything `appliance trace` tells of an exchange that has no column."""
    return {
        "host": event.host,
        "schema": event.event_schema,
        "operation": event.operation,
        "surface": event.surface,
        "stream": event.stream,
        "http_status": event.http_status,
        "route": event.route,
        "router_reason": event.router_reason,
        "provider": event.provider,
        "request_model": event.request_model,
        "selected_model": event.selected_model,
        "response_model": event.response_model,
        "backend": event.backend,
        "attempts": event.attempts,
        "retrieval": event.retrieval,
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "cache_read_tokens": event.cache_read_tokens,
        "cache_write_tokens": event.cache_write_tokens,
        "reasoning_tokens": event.reasoning_tokens,
        "duration_s": event.duration_s,
        "time_to_first_token_s": event.time_to_first_token_s,
        "error_type": event.error_type,
        "error_message": event.error_message,
        "params": event.params,
        "dropped": event.dropped,
        "project": event.project,
        "key_name": event.key_name,
    }


def role_of(message: Mapping[str, Any]) -> str:
    """Its role; `tool` for a user's message that brings results of tools, as Anthropic's wire has
    them: the last user's message is the question an answer is for."""
    role, content = str(message.get("role", "")), message.get("content")
    parts = content if isinstance(content, list) else ()
    answers = any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)
    return "tool" if answers and role == "user" else role


def text_of(content: object) -> str:
    """What a person would read in a message's `content`, in the words of any wire: a string, or
    the texts of its parts, a line each; of results of tools, search results and text documents,
    too.  Never the data of a file."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (_text_of_part(part) for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if text)


def _text_of_part(part: Mapping[str, Any]) -> str:
    if isinstance(text := part.get("text"), str):
        return text
    source = part.get("source")
    if isinstance(source, dict) and source.get("type") in ("text", "content"):
        return text_of(source.get("data") or source.get("content"))
    return text_of(part.get("content"))
