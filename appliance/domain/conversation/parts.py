"""What a message is made of.  The same parts whichever surface they came by and whichever backend
they go to.

`source` is the part exactly as the client sent it, in the request's dialect; None where there was
none or where we changed it.  What we changed has the part as it was in `original`: whoever writes
it anew in the same dialect keeps what that says besides (a cache_control, a title).

Parts and messages are never changed once they are made.  They are not frozen: an agent resends
hundreds with each turn, and a frozen dataclass takes three times as long to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Source = Mapping[str, Any] | None


@dataclass(slots=True)
class Text:
    """What a person would read."""

    text: str
    source: Source = None


@dataclass(slots=True)
class Refusal(Text):
    """A text that says why there is no answer: text for whoever has no other word for it."""


@dataclass(slots=True)
class Image:
    """`data` is base64 in the standard alphabet, without a `data:` prefix; empty while only `url`
    is known.  `detail` is how closely to look at it, in OpenAI's words: low, high, auto."""

    media_type: str = ""  # image/png …; empty when nobody said
    data: str = ""
    url: str = ""  # http(s) only
    source: Source = None
    detail: str = ""
    original: Source = None


@dataclass(slots=True)
class Document:
    """A file beside the text: `text` where it is plain text, else `data` (base64), else `url`."""

    name: str = ""
    media_type: str = ""
    text: str = ""
    data: str = ""
    url: str = ""
    source: Source = None
    original: Source = None


@dataclass(slots=True)
class Reasoning:
    """What the model thought.  `signature` is opaque and belongs to whoever made it; `redacted` is
    Anthropic's encrypted form, which has no text."""

    text: str = ""
    signature: str = ""
    redacted: str = ""
    source: Source = None


@dataclass(slots=True)
class ToolCall:
    """`arguments` is JSON text, `{}` when there are none; `extra` what its backend wants back
    unchanged with the call (Gemini's thought signature)."""

    id: str
    name: str
    arguments: str = "{}"
    extra: Mapping[str, Any] = field(default_factory=dict)
    source: Source = None


@dataclass(slots=True)
class ToolResult:
    """What the tool `call_id` said: texts, images and documents."""

    call_id: str
    parts: tuple["Text | Image | Document | Unknown", ...] = ()
    is_error: bool = False
    name: str = ""  # the tool's, where the wire tells
    source: Source = None
    original: Source = None


@dataclass(slots=True)
class Unknown:
    """A part we have no word for: a backend of the same dialect gets it as it is, another one
    cannot be asked."""

    kind: str
    source: Source = None


Part = Text | Image | Document | Reasoning | ToolCall | ToolResult | Unknown
