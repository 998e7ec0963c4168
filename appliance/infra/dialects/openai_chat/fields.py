"""Fields of OpenAI's answers that servers write in several forms.  Used by answer.py; pure,
and for any JSON."""

from collections.abc import Sequence
from typing import Any

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.usage import Usage, count_of

_MOST_LOGPROB = 1e9  # no server means more


def usage_of(usage: Any) -> Usage | None:
    """Its counts; None for anything that is not an object, as for a count that is none."""
    if type(usage) is not dict:
        return None
    given, made = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    given = given if type(given) is dict else {}
    made = made if type(made) is dict else {}
    return Usage(
        count_of(usage.get("prompt_tokens")),
        count_of(usage.get("completion_tokens")),
        usage,
        count_of(given.get("cached_tokens")),
        count_of(given.get("cache_write_tokens")),
        count_of(made.get("reasoning_tokens")),
    )


def text_of(said: dict[str, Any]) -> str:
    """What a person would read."""
    content = said.get("content")
    if type(content) is list:
        content = _flattened(said, content)
    return content if type(content) is str else ""


def refusal_of(said: dict[str, Any]) -> str:
    """Why there is no answer."""
    refusal = said.get("refusal")
    return refusal if type(refusal) is str else ""


def logprobs_of(choice: dict[str, Any]) -> Sequence[TokenLogprob]:
    """Those of a choice or of a step of it."""
    told = choice.get("logprobs")
    return _tokens(told.get("content")) if type(told) is dict else ()


def _tokens(rows: Any) -> Sequence[TokenLogprob]:
    read = (_token(row) for row in rows if type(row) is dict) if type(rows) is list else ()
    return tuple(token for token in read if token is not None)


def _token(row: dict[str, Any]) -> TokenLogprob | None:
    token, logprob, utf8 = row.get("token"), row.get("logprob"), row.get("bytes")
    if not isinstance(token, str) or not isinstance(logprob, int | float):
        return None
    if not abs(logprob) < _MOST_LOGPROB:
        return None
    top = _tokens(row.get("top_logprobs"))
    return TokenLogprob(token, float(logprob), _bytes(utf8) or token.encode(errors="replace"), top)


def _bytes(told: Any) -> bytes:
    """None of them where it is no list of bytes."""
    try:
        return bytes(told) if type(told) is list else b""
    except (TypeError, ValueError):
        return b""


def _flattened(said: dict[str, Any], content: list[Any]) -> str:
    """The text of Mistral's list of parts; in `said` text and reasoning become strings, which are
    what a client of OpenAI's reads."""
    parts = [part for part in content if type(part) is dict]
    thoughts = [_inner_text(part.get("thinking")) for part in parts]
    if (joined := "".join(thoughts)) and not said.get("reasoning_content"):
        said["reasoning_content"] = joined
    text = said["content"] = "".join(_inner_text(part.get("text")) for part in parts)
    return text


def _inner_text(value: Any) -> str:
    if type(value) is list:
        texts = (part.get("text") for part in value if type(part) is dict)
        return "".join(text for text in texts if type(text) is str)
    return value if type(value) is str else ""


def thoughts_of(said: dict[str, Any]) -> tuple[str, str]:
    """Reasoning and its signature.  One name of several: vLLM sent the same text under both while
    it moved from one to the other (PR 27752, 33402)."""
    text = said.get("reasoning_content") or said.get("reasoning") or ""
    if type(text) is not str:
        text = ""
    details = said.get("reasoning_details")
    if not details or type(details) is not list:
        return text, ""
    rows = [row for row in details if type(row) is dict]
    signatures = [s for row in rows if type(s := row.get("signature")) is str and s]
    if not text:
        text = "".join(t for row in rows if type(t := row.get("text")) is str)
    return text, signatures[-1] if signatures else ""


def stop_sequence(choice: dict[str, Any]) -> str | None:
    """vLLM's `stop_reason`: the stop string; a number is a token's."""
    told = choice.get("stop_reason")
    return told if type(told) is str and told else None
