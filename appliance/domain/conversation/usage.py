"""Token counts.  Absent is not zero: a count nobody reported is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer.  `source` is the backend's own object, for details we have no word
    for."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
