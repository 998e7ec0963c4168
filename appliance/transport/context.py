"""What the middleware knows of a request, shared through the ASGI scope."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.access.keys import Key
from appliance.domain.errors import ApplianceError
from appliance.domain.identity import Identity


def _nothing() -> None:
    """For requests nobody watches."""


SCOPE_KEY = "appliance.context"


@dataclass(slots=True)
class RequestContext:
    """`headers` are lower case, the last of a repeated one; `fields` go into the access log;
    `extra_headers` go out with the response; `last_send` is the loop's time of the last bytes sent;
    `filler` is what keeps its stream alive where that is no comment.
    """

    identity: Identity
    headers: Mapping[str, str]
    started: float
    key: Key | None = None
    status: int = 0
    last_send: float = 0.0
    filler: bytes = b""
    cleanup: Callable[[], Awaitable[None]] | None = None  # what must end with the request
    interrupt: Callable[[ApplianceError], None] | None = None  # ends an answer with words in band
    on_body_read: Callable[[], None] = _nothing  # the disconnect watch starts here
    on_drain: Callable[[], None] = _nothing  # a connection takes no further request from here on
    body_read: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    extra_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def over(self) -> None:
        """Let go of what refers back to this: a request in a circle lives, body and all, until the
        collector finds it, and finding it costs as much as decoding it did."""
        self.on_body_read, self.cleanup, self.interrupt = _nothing, None, None
        self.on_drain = _nothing


def context_of(scope: Mapping[str, Any]) -> RequestContext:
    """The context the middleware put there."""
    found: RequestContext = scope[SCOPE_KEY]
    return found
