"""A WebSocket's handshake, seen as the GET it is: what surrounds every request (middleware.py)
names, guards and logs it, and an error before it is accepted is an HTTP response."""

from collections.abc import Awaitable, Callable
from typing import Any

from appliance.transport.context import RequestContext

Send = Callable[[dict[str, Any]], Awaitable[None]]
ACCEPTED = 101
_CLOSED_UNANSWERED = 403  # what a server says of a handshake that was closed without a word
_DENIALS = {
    "http.response.start": "websocket.http.response.start",
    "http.response.body": "websocket.http.response.body",
}


def is_socket(scope: dict[str, Any]) -> bool:
    """True for a WebSocket."""
    return bool(scope["type"] == "websocket")


def as_request(
    scope: dict[str, Any],
    send: Send,
    context: RequestContext,
    headers: Callable[[RequestContext], list[tuple[bytes, bytes]]],
) -> Send:
    """A `send` for whoever answers the handshake, with WebSocket's or HTTP's messages; its answer
    has `headers` of the context."""
    scope["method"] = "GET"

    async def send_handshake(message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            context.status = message["status"]
        elif kind == "websocket.accept":
            context.status = ACCEPTED
        elif kind == "websocket.close":
            context.status = context.status or _CLOSED_UNANSWERED
        if kind in ("http.response.start", "websocket.accept"):
            message["headers"] = [*message.get("headers", ()), *headers(context)]
        await send({**message, "type": _DENIALS.get(kind, kind)})

    return send_handshake
