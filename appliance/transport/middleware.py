"""What surrounds every request, outermost first: context, access log, recovery, access.

Plain ASGI, one object each; the disconnect watch (disconnect.py) sits between recovery and
access.  Only RequestContextMiddleware wraps `send`, so a streamed chunk passes one function of
ours.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from appliance.domain.access.keys import KeyRing
from appliance.domain.access.origin import OriginGuard
from appliance.domain.errors import ApplianceError, PermissionDenied, RequestError
from appliance.domain.identity import Identity
from appliance.presentation.errors import CANCELLED_STATUS, ErrorView, view
from appliance.transport.context import SCOPE_KEY, RequestContext, context_of
from appliance.transport.errors import send_error
from appliance.transport.handshake import as_request, is_socket
from appliance.transport.shapes import Shapes
from appliance.transport.streaming import COMMENT, KeepAlive

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AccessWriter = Callable[[int, dict[str, Any]], None]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("appliance.gateway")
# Answered without a key: they say nothing of anybody's content.
OPEN_PATHS = frozenset({"/", "/healthz", "/health", "/ready"})
_CLOSE = (b"connection", b"close")
_EVENT_STREAM = (b"content-type", b"text/event-stream")
QUIET_PATHS = frozenset({"/healthz", "/health", "/ready", "/metrics"})


class RequestContextMiddleware:
    """Gives the request its two ids, and puts them on the response."""

    def __init__(
        self,
        app: ASGIApp,
        identify: Callable[[str | None, str | None], Identity],
        monotonic: Callable[[], float],
        *,
        keepalive_s: float,
    ) -> None:
        self._app = app
        self._identify = identify
        self._monotonic = monotonic
        self._keepalive_s = keepalive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        identity = self._identify(headers.get("x-correlation-id"), headers.get("x-request-id"))
        context = RequestContext(identity, headers, self._monotonic())
        scope[SCOPE_KEY] = context
        if is_socket(scope):
            await self._app(scope, receive, as_request(scope, send, context, _id_headers))
            return
        monotonic = self._monotonic
        keepalive: KeepAlive | None = None

        # A plain function: a coroutine more costs every chunk of a stream half a microsecond.
        def send_with_ids(message: dict[str, Any]) -> Awaitable[None]:
            nonlocal keepalive
            context.last_send = monotonic()
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message["headers"], *_id_headers(context)]
                if not context.body_read and _sends_body(context.headers):
                    message["headers"].append(_CLOSE)
                filler = context.filler or (_EVENT_STREAM in message["headers"] and COMMENT)
                if filler and context.status == 200:
                    keepalive = KeepAlive(
                        send, lambda: context.last_send, self._keepalive_s, filler
                    )
            return send(message)

        try:
            await self._app(scope, receive, send_with_ids)
        finally:
            if keepalive is not None:
                keepalive.stop()


def _sends_body(headers: Mapping[str, str]) -> bool:
    """An answer before its request was read ends the connection: the server drops it when the rest
    is large, and a client that was not told would send its next request into it."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _id_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    identity = context.identity
    trace_id = identity.trace_id.encode()
    headers = [
        (b"x-correlation-id", identity.correlation_id.encode()),
        (b"x-request-id", trace_id),
        (b"request-id", trace_id),
        *context.extra_headers,
    ]
    if identity.replaced:
        headers.append((b"x-correlation-id-replaced", b"invalid"))
    return headers


class AccessLogMiddleware:
    """One line a request, when it is over, whatever became of it."""

    def __init__(self, app: ASGIApp, monotonic: Callable[[], float], write: AccessWriter) -> None:
        self._app = app
        self._monotonic = monotonic
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            level = logging.DEBUG if scope["path"] in QUIET_PATHS else logging.INFO
            self._write(level, self._line(scope, context))

    def _line(self, scope: Scope, context: RequestContext) -> dict[str, Any]:
        line = {
            "correlation_id": context.identity.correlation_id,
            "trace_id": context.identity.trace_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": context.status or CANCELLED_STATUS,
            "duration_s": round(self._monotonic() - context.started, 6),
            **context.fields,
        }
        if context.identity.replaced:
            line["correlation_id_replaced"] = True
        return line


class RecoveryMiddleware:
    """The last catch: an error nobody expected becomes a 500 in the caller's format, and a log
    line."""

    def __init__(self, app: ASGIApp, shapes: Shapes) -> None:
        self._app = app
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ApplianceError as exc:  # the gateway is stopping
            await send_error(send, view(exc), _shape(self._shapes, scope))
        except Exception as exc:
            context = context_of(scope)
            _log.exception("unexpected_error", extra=ids(context))
            if context.status:
                raise  # the response has begun: closing the connection is all that is left to say
            await send_error(send, view(exc), _shape(self._shapes, scope))


def ids(context: RequestContext) -> dict[str, str]:
    """The two ids, for a log line."""
    identity = context.identity
    return {"correlation_id": identity.correlation_id, "trace_id": identity.trace_id}


class AccessMiddleware:
    """Keys where there are some; Host and Origin where there are none (DNS rebinding); CORS by
    list."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Callable[[], KeyRing],
        guard: OriginGuard,
        shapes: Shapes,
    ) -> None:
        self._app = app
        self._keys = keys
        self._guard = guard
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        headers = context.headers
        origin = headers.get("origin")
        if origin and self._guard.origin_listed(origin):
            context.extra_headers += _cors(origin)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(send, headers)
                return
        try:
            self._check(scope, context, headers, origin)
        except RequestError as exc:
            await send_error(send, view(exc), _shape(self._shapes, scope))
            return
        await self._app(scope, receive, send)

    def _check(
        self, scope: Scope, context: RequestContext, headers: Mapping[str, str], origin: str | None
    ) -> None:
        keys = self._keys()
        if not keys:
            host = headers.get("host", "")
            if not self._guard.host_allowed(host):
                raise PermissionDenied(
                    f"Host {host!r} is not served: list it in [gateway] allowed_hosts, or use keys."
                )
            if origin and not self._guard.origin_allowed(origin, host):
                raise PermissionDenied(
                    f"Origin {origin!r} is not served: list it in [gateway] allowed_origins."
                )
        elif scope["path"] not in OPEN_PATHS:
            context.key = keys.authenticate(_token(headers))


def _shape(shapes: Shapes, scope: Scope) -> Callable[[ErrorView], bytes]:
    return shapes.of(scope["path"], context_of(scope).headers).error


def _token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key", "").strip()


def _cors(origin: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"x-request-id, x-correlation-id, x-rag-sources"),
        (b"vary", b"origin"),
    ]


async def _preflight(send: Send, headers: Mapping[str, str]) -> None:
    asked = headers.get("access-control-request-headers", "").encode("latin-1")
    allow = [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": allow})
    await send({"type": "http.response.body", "body": b""})
