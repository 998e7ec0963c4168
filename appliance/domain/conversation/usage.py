"""Token counts.  Absent is not zero: a count nobody reported is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_TOKENS = 2**31 - 1  # what a row takes; no prompt and no window comes near it


def count_of(told: Any) -> int | None:
    """A count of tokens as a server tells it; None for anything that cannot be one."""
    return told if type(told) is int and 0 <= told <= MOST_TOKENS else None


@dataclass(slots=True)
class Usage:
    """Tokens of one answer, never changed once made.  `input_tokens` is the whole prompt: what was
    read from and written to a cache is part of it, and `reasoning_tokens` are part of
    `output_tokens`.  `source` is the backend's own object, in its dialect, for details we have no
    word for."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
