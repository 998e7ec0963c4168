"""What Anthropic's wire answers, in neutral words: a whole message, its counts, an error.  Used by
client.py and, for what a stream shares with it, by stream.py; pure.

Whatever the API adds that we have no word for (its own tools' blocks, citations) travels as
`source` to a surface of this dialect, and is not there for any other.
"""

from typing import Any

import msgspec

from appliance.domain.conversation.parts import Part, Reasoning, Text, ToolCall, Unknown
from appliance.domain.conversation.stream import Answer, Choice
from appliance.domain.conversation.usage import Usage, count_of
from appliance.domain.errors import (
    ApplianceError,
    BackendRefused,
    ContextLengthExceeded,
)
from appliance.infra.dialects.failures import broken, in_band_error
from appliance.infra.dialects.tool_names import ToolNames

Object = dict[str, Any]

_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# What an error means when it comes after a 200: the status it would have had before.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_encode = msgspec.json.Encoder().encode


def error_told(backend: str, error: Any) -> ApplianceError:
    """The error of `error`, the object inside Anthropic's error body, that came under a 200."""
    told = in_band_error(backend, error)
    kind = error.get("type") if isinstance(error, dict) else None
    if isinstance(told, ContextLengthExceeded) or not isinstance(kind, str):
        return told
    if (status := _STATUSES.get(kind)) is None:
        return told
    return BackendRefused(str(told), backend=backend, status=status, kind=kind)


def usage_of(told: Any) -> Usage | None:
    """Neutral counts of Anthropic's: its `input_tokens` leaves out what was read from and written
    to a cache, ours does not."""
    if not isinstance(told, dict) or not told:
        return None
    given = count_of(told.get("input_tokens"))
    read = count_of(told.get("cache_read_input_tokens"))
    written = count_of(told.get("cache_creation_input_tokens"))
    details = told.get("output_tokens_details")
    return Usage(
        None if given is None else given + (read or 0) + (written or 0),
        count_of(told.get("output_tokens")),
        told,
        read,
        written,
        count_of(details.get("thinking_tokens")) if isinstance(details, dict) else None,
    )


def answer_of(body: Object, names: ToolNames, *, own: bool, backend: str) -> Answer:
    """A whole message.  `own`: the request came in this dialect.  Raises BackendProtocolError."""
    content = body.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise broken(backend, "answered without content")
    read = (_part(block, names, own=own) for block in content)
    parts = tuple(part for part in read if part is not None)
    finish = finish_of(body.get("stop_reason"), any(isinstance(part, ToolCall) for part in parts))
    choice = Choice(0, parts, finish, text_of(body.get("stop_sequence")) or None)
    source = body if own else None
    return Answer((choice,), usage_of(body.get("usage")), text_of(body.get("model")), source)


def _part(block: Object, names: ToolNames, *, own: bool) -> Part | None:
    kind, source = block.get("type"), block if own else None
    if kind == "text":
        return Text(text_of(block.get("text")), source)
    if kind == "thinking":
        return Reasoning(
            text_of(block.get("thinking")), text_of(block.get("signature")), source=source
        )
    if kind == "redacted_thinking":
        return Reasoning(redacted=text_of(block.get("data")), source=source)
    if kind == "tool_use":
        name = text_of(block.get("name"))
        return ToolCall(
            text_of(block.get("id")),
            names.given.get(name, name),
            arguments_of(block.get("input")) or "{}",
            source=source,
        )
    return Unknown(text_of(kind), source) if own else None


def finish_of(reason: Any, called: bool) -> str:
    """An unknown reason is a stop; one with calls is theirs, whatever was said (litellm#34692)."""
    finish = _FINISHES.get(reason, "stop") if isinstance(reason, str) else "stop"
    return "tool_calls" if called and finish == "stop" else finish


def arguments_of(told: Any) -> str:
    """JSON text of a call's input; empty when there is none."""
    if isinstance(told, str):
        return told
    return _encode(told).decode() if told else ""


def object_of(value: Any) -> Object:
    """`value`, or nothing where it is no object."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """`value`, or nothing where it is no text."""
    return value if isinstance(value, str) else ""
