"""Why an answer ended, from the words of OpenAI and of others.  Used by answer.py; pure."""

# OpenAI's own words, then those of other servers; any other word means that it came to an end.
OPENAI = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
}
_OTHERS = {
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
}
_FAILED = frozenset({"error", "abort"})


def other_word(reason: str) -> str | None:
    """What a word that is not OpenAI's means; None where its server gave up."""
    reason = reason.lower()
    if reason in _FAILED:
        return None
    return _OTHERS.get(reason) or OPENAI.get(reason, "stop")
