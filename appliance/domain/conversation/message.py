"""One message of a conversation, as the domain reads it.  Wire details stay in `source`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is what a person would read of it (text parts joined by newlines); `source` is the
    message exactly as the client sent it, in the dialect of the request, and is what a backend of
    that dialect gets."""

    role: str
    text: str
    source: Mapping[str, Any] = field(default_factory=dict)
