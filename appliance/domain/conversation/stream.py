"""What a backend says while it answers, and the whole it adds up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.conversation.usage import Usage


@dataclass(slots=True)  # not frozen: one is made per chunk, and frozen costs a microsecond of each
class Delta:
    """One step of one choice; empty fields mean nothing new.

    `source` is the chunk as decoded, in the words of the backend's dialect: a surface of the same
    dialect re-emits it with everything we have no word for.
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""  # what the backend reports; may be a file path
    source: dict[str, Any] | None = None

    @property
    def has_content(self) -> bool:
        """True when a client would notice it: from here on no other backend can take over."""
        return bool(self.text or self.reasoning or self.tool_calls or self.finish_reason)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the once shape; `source` is the backend's body as decoded, in its
    dialect."""

    text: str
    finish_reason: str | None
    usage: Usage | None = None
    model: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    source: dict[str, Any] | None = field(default=None)
