"""Send an error in the shape of the surface a path belongs to."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import falcon
import falcon.asgi

from appliance.domain.errors import ApplianceError, InvalidRequest, MethodNotAllowed, NotFound
from appliance.presentation.errors import ErrorView, view
from appliance.transport.context import context_of
from appliance.transport.shapes import Shapes

_log = logging.getLogger("appliance.gateway")
Shape = Callable[[ErrorView], bytes]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def retry_headers(error: ErrorView) -> list[tuple[str, str]]:
    """`x-should-retry` as the SDKs read it, and `retry-after` in seconds where waiting helps."""
    if error.status < 429:
        return []
    headers = [("x-should-retry", "true" if error.should_retry else "false")]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    return headers


async def send_error(send: Send, error: ErrorView, shape: Shape) -> None:
    """The whole error response, on bare ASGI."""
    body = shape(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((k.encode(), v.encode()) for k, v in retry_headers(error)),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def put_error(resp: falcon.asgi.Response, error: ErrorView, shape: Shape) -> None:
    """The same on Falcon's response."""
    resp.status = error.status
    resp.content_type = "application/json"
    resp.data = shape(error)
    for name, value in retry_headers(error):
        resp.set_header(name, value)


def install(app: "falcon.asgi.App[Any, Any]", shapes: Shapes) -> None:
    """Make Falcon answer our error tree, and its own errors, in the surface's shape.

    A WebSocket has no response: what went wrong with its handshake is raised again, for the
    middleware to answer.
    """

    def answer(
        req: falcon.asgi.Request, resp: falcon.asgi.Response | None, error: Exception
    ) -> None:
        if resp is None:
            raise error
        put_error(resp, view(error), _shape(shapes, req))

    async def ours(
        req: falcon.asgi.Request, resp: falcon.asgi.Response | None, error: Any, params: Any
    ) -> None:
        answer(req, resp, error)

    async def falcons(
        req: falcon.asgi.Request, resp: falcon.asgi.Response | None, error: Any, params: Any
    ) -> None:
        known: ApplianceError
        if error.status_code == 405:
            asked = "a WebSocket" if resp is None else req.method
            known = MethodNotAllowed(f"{req.path} does not answer {asked}.")
            if resp is not None:
                resp.set_headers(error.headers or {})
        elif error.status_code == 404:
            known = NotFound(f"There is no {req.method} {req.path} here.")
        else:
            known = InvalidRequest(error.description or error.title)
        answer(req, resp, known)

    async def unexpected(
        req: falcon.asgi.Request, resp: falcon.asgi.Response | None, error: Any, params: Any
    ) -> None:
        if resp is None:
            raise error  # and logged there
        ids = context_of(req.scope).identity
        _log.error(
            "unexpected_error",
            exc_info=error,
            extra={"trace_id": ids.trace_id, "correlation_id": ids.correlation_id},
        )
        put_error(resp, view(error), _shape(shapes, req))

    app.add_error_handler(Exception, unexpected)
    app.add_error_handler(ApplianceError, ours)
    app.add_error_handler(falcon.HTTPError, falcons)


def _shape(shapes: Shapes, req: falcon.asgi.Request) -> Shape:
    return shapes.of(req.path, context_of(req.scope).headers).error
