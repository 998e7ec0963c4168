"""What a backend says while it answers, and the whole it adds up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.conversation.usage import Usage


@dataclass(slots=True)  # not frozen: one is made per chunk, and frozen costs a microsecond of each
class Delta:
    """One step of one choice.  Empty fields mean nothing new.  `rest` carries what the dialect sent beside
    them (role, tool call fragments, logprobs, reasoning), in the dialect's own words and place:
    `rest["delta"]` and `rest["choice"]`."""

    index: int = 0
    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""  # what the backend reports; may be a file path
    rest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the once shape.  `source` is the backend's body as decoded, in its `dialect`."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    model: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    dialect: str = "openai_chat"
    source: Mapping[str, Any] = field(default_factory=dict)
