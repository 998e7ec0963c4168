"""The response object: what of the request it repeats, usage, and how it failed.  Called by
`decode` and `encode`; pure."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.conversation.usage import Usage
from appliance.presentation.errors import ErrorView, view
from appliance.presentation.openai_responses.wire import Object, WireRequest

_NO_FUNCTION = {"description": None, "parameters": None, "strict": None}
_NO_SCHEMA = {"description": None, "strict": None}
# Codes clients act on; OpenAI has few others for a response that failed, and these are the ones
# of whatever else went wrong.
_KEPT_CODES = frozenset({"context_length_exceeded", "rate_limit_exceeded", "insufficient_quota"})


def echo_of(wire: WireRequest, sent: Mapping[str, Any]) -> Object:
    """The keys of a resource that come from the request, with OpenAI's own defaults where a client
    said nothing: readers want numbers there, not null."""
    reasoning, text = sent.get("reasoning") or {}, sent.get("text") or {}
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return {
        "background": bool(wire.background),
        "frequency_penalty": wire.frequency_penalty or 0.0,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata or {},
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "presence_penalty": wire.presence_penalty or 0.0,
        "previous_response_id": wire.previous_response_id,
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {"effort": reasoning.get("effort"), "summary": summary},
        "safety_identifier": wire.safety_identifier,
        "service_tier": "default",
        "temperature": 1.0 if wire.temperature is None else wire.temperature,
        "text": {**text, "format": _format(text.get("format"))},
        "tool_choice": sent.get("tool_choice") or "auto",
        "tools": [_tool(tool) for tool in sent.get("tools") or ()],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": 1.0 if wire.top_p is None else wire.top_p,
        "truncation": "disabled",
        "user": wire.user,
    }


def head_of(response_id: str, created: int, model: str) -> Object:
    """The keys that are the response's own, while nothing has been said.  With `store`, and the
    echo of the request behind them, they are a resource."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
    }


def usage_object(usage: Usage | None) -> Object | None:
    """Null unless both counts are known: the wire has no word for one that nobody made.  Its
    details have to be numbers."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def error_object(error: Exception) -> Object:
    """`error` of a response that failed."""
    told = view(error)
    return {"code": _code(told), "message": _message(told)}


def _code(told: ErrorView) -> str:
    if told.code in _KEPT_CODES:
        return told.code or ""
    if told.status == 429:
        return "rate_limit_exceeded"
    return "server_error" if told.status >= 500 else "invalid_prompt"


def _message(told: ErrorView) -> str:
    """Codex reads from the words how long to wait."""
    if told.retry_after_s is None:
        return told.message
    return f"{told.message.rstrip('.')}. Please try again in {told.retry_after_s}s."


def _tool(sent: Any) -> Any:
    return {**_NO_FUNCTION, **sent} if sent.get("type") == "function" else sent


def _format(sent: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not sent:
        return {"type": "text"}
    return {**_NO_SCHEMA, **sent} if sent.get("type") == "json_schema" else sent
