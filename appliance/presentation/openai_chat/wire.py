"""What we require of a chat completion request.  Everything else is carried as it came."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class WireMessage(msgspec.Struct):
    """One message: `content` is text, parts, or null beside tool calls."""

    role: Annotated[str, Meta(min_length=1)]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = False


class WireRequest(msgspec.Struct):
    """The fields the gateway itself reads, and the types of those clients get wrong most."""

    messages: Annotated[list[WireMessage], Meta(min_length=1)]
    model: str | None = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    x_route: str | None = ""
    x_workspace: str | None = ""
    x_project: str | None = ""
    x_conversation: str | None = ""


ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
