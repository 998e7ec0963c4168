"""What is asked and what is seen, whatever the surface: the words of the table's rows."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
        "789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
).decode()
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SSE = "text/event-stream"


@dataclass(frozen=True)
class Ask:
    """What to ask.  `call` and `result` are an exchange with the tool `weather` that has happened:
    (id, arguments) and its text; `later` are the turns after it: role, text."""

    text: str = "Hello?"
    stream: bool = False
    tools: bool = False
    image: bool = False
    call: tuple[str, str] | None = None
    result: str = ""
    thought: Any = None  # the reasoning of the turn with the call, as the client was given it
    later: tuple[tuple[str, str], ...] = ()

    @property
    def said_later(self) -> list[dict[str, str]]:
        """As messages, which all wires have alike where they are text."""
        return [{"role": role, "content": text} for role, text in self.later]


@dataclass
class Seen:
    """What an answer said; `finish` in OpenAI's words."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""  # where the surface has a word for it
    calls: list[tuple[str, str, Any]] = field(default_factory=list)  # id, name, arguments
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: dict[str, Any] | None = None  # in the surface's own shape, in band or whole
    thought: Any = None  # what its client hands back beside a call


class Client(Protocol):
    """One surface.  `stream_type` is the content type of its streams; one that `converses` carries
    earlier turns and tools, and one that `signs` the signature of reasoning, too."""

    surface: str
    path: str
    stream_type: str
    converses: bool
    signs: bool

    def body(self, model: str, ask: Ask) -> dict[str, Any]: ...
    def once(self, body: bytes) -> Seen: ...
    def stream(self, body: bytes) -> Seen: ...
    def error_kind(self, status: int) -> str: ...
    def error(self, body: bytes) -> tuple[str, str]:
        """(kind, message); AssertionError for another shape."""

    def events(self, body: bytes) -> Sequence[bytes]:
        """The frames of a stream, for a count."""
