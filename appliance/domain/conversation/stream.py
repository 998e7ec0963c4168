"""What a backend says while it answers, and the whole it adds up to.

`finish_reason` is stop, length, tool_calls or content_filter, whatever the wire called it.
`source` is what the backend sent, as decoded, and only there when the request came in the
backend's own dialect: a surface of that dialect re-emits it with everything we have no word for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.parts import Part, Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.usage import Usage


@dataclass(slots=True)
class ToolCallDelta:
    """A step of the call at position `index` of its choice.  As a backend sends it anything may be
    missing (`index` -1, empty texts); after parsing `index` counts from 0, the first step of a call
    has its `id` and `name`, later ones neither, and all `arguments` joined are a JSON object."""

    index: int = -1
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: Mapping[str, Any] | None = None


@dataclass(slots=True)  # not frozen: one is made per chunk, and frozen costs a microsecond of each
class Delta:
    """One step of one choice; empty fields mean nothing new.  A delta says one thing: text, or
    reasoning, or tool calls, or a refusal; a finish reason may come with it, and counts after
    it."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""  # what the backend reports; may be a file path
    source: dict[str, Any] | None = None
    altered: bool = False  # text, reasoning or calls are no longer those of `source`
    signature: str = ""  # of the reasoning so far, which is complete with it
    redacted: str = ""  # a whole block of reasoning in encrypted form
    stop_sequence: str | None = None  # the stop string that ended it, where the backend tells
    raw: bytes = b""  # the event's payload as it came, for a request that is `raw`
    visible: bool = False  # `source` shows a client something that no other field has a word for
    refusal: str = ""  # text that says why there is no answer
    logprobs: Sequence[TokenLogprob] = ()  # of its text; its own dialect has them in `source`

    @property
    def has_content(self) -> bool:
        """True when a client would notice it: from here on no other backend can take over."""
        return bool(
            self.text
            or self.reasoning
            or self.tool_calls
            or self.finish_reason
            or self.signature
            or self.redacted
            or self.visible
            or self.refusal
        )


@dataclass(slots=True)
class Choice:
    """One whole answer to the request, its parts in the order they came."""

    index: int = 0
    parts: tuple[Part, ...] = ()
    finish_reason: str | None = None
    stop_sequence: str | None = None
    logprobs: Sequence[TokenLogprob] = ()  # of all its text; as those of a delta

    @property
    def text(self) -> str:
        """All of its text, without a refusal."""
        said = (part for part in self.parts if isinstance(part, Text))
        return "".join(part.text for part in said if not isinstance(part, Refusal))

    @property
    def refusal(self) -> str:
        """Why there is no answer."""
        return "".join(part.text for part in self.parts if isinstance(part, Refusal))

    @property
    def reasoning(self) -> str:
        """All it thought."""
        return "".join(part.text for part in self.parts if isinstance(part, Reasoning))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """All its calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@dataclass(slots=True)
class Answer:
    """A whole answer of the once shape: a choice, or several where the request asked for `n`."""

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    model: str = ""
    source: dict[str, Any] | None = field(default=None)
    altered: bool = False  # the choices are no longer those of `source`
    raw: bytes = b""  # the body as it came, for a request that is `raw`

    @property
    def first(self) -> Choice:
        """The choice the record is made of."""
        return self.choices[0]
