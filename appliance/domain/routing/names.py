"""A model's name with and without a tag.  Used by routing and by whoever compares names; pure.

Ollama's rule: a name without a tag means the tag `latest`, so `x` and `x:latest` are one model.
Its clients say either, whichever backend serves it.
"""

LATEST = ":latest"


def twin(name: str) -> str:
    """The other way to write `name`; empty for one with a tag of its own (`qwen3:8b`)."""
    if name.endswith(LATEST):
        return name.removesuffix(LATEST)
    return "" if has_tag(name) or not name else name + LATEST


def has_tag(name: str) -> bool:
    """True where there is a tag; a colon further ahead is that of a port (`host:5000/x`)."""
    return ":" in name.rpartition("/")[2]


def same(name: str, other: str) -> bool:
    """True when both name one model."""
    return name == other or (bool(name) and twin(name) == other)
