"""Fields of OpenAI's answers that servers write in several forms.  Used by answer.py; pure,
and for any JSON."""

from typing import Any

from appliance.domain.conversation.usage import Usage, count_of


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
    """What a person would read, a refusal too."""
    content = said.get("content")
    if type(content) is list:
        content = _flattened(said, content)
    if type(content) is str and content:
        return content
    refusal = said.get("refusal")
    return refusal if type(refusal) is str else ""


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
