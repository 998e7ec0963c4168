"""What stands before Dagster's web server, which has no login and asks nobody's origin.

An ASGI application around its own: HTTP and websockets are refused with 403 for a Host that could
be a rebound name and for an Origin that is another page's.  It never adds a CORS header, and no
page of another origin can frame the UI.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from appliance.config.schema import DagsterConfig
from appliance.domain.access.origin import OriginGuard, host_name, is_loopback
from appliance.domain.errors import ConfigError
from appliance.entrypoints.serve import split_listen

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

DEFAULT_LISTEN = "127.0.0.1:3000"
_STANDS_BY = (
    "This dagster role stands by: another one, here or on another host, has the database and "
    "serves the pipelines' pages.  This one takes over when it ends."
)
_FRAMES = (b"x-frame-options", b"SAMEORIGIN")


def listen_address(config: DagsterConfig, listen: str, insecure: bool) -> str:
    """HOST:PORT to serve on; ConfigError when others could reach it and nobody said they may."""
    chosen = listen or config.listen or DEFAULT_LISTEN
    host, _ = split_listen(chosen)
    if not insecure and not is_loopback(host):
        raise ConfigError(
            f"{host} is not a loopback address and Dagster's web server has no login: listen on "
            "127.0.0.1 and put a proxy with a login before it, or say --insecure if everybody who "
            "reaches it may run jobs"
        )
    return chosen


def guarded(app: ASGIApp, allowed_hosts: Iterable[str], listen: str) -> ASGIApp:
    """`app` behind the guard; `allowed_hosts` pass beside loopback names and the listen address."""
    return Guarded(app, OriginGuard([*allowed_hosts, host_name(listen)], []))


class Guarded:
    """The guard as an ASGI application."""

    def __init__(self, app: ASGIApp, guard: OriginGuard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is allowed; lifespan messages pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif why := self._refusal(scope):
            await _refuse(scope, send, why)
        else:
            await self._app(scope, receive, _unframed(send))

    def _refusal(self, scope: Scope) -> str:
        """Why this request is not served, "" when it is."""
        headers = list(scope["headers"])
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._guard.host_allowed(hosts[0]):
            return "this Host is not served: add it to [dagster] allowed_hosts"
        for name, value in headers:
            origin = value.decode("latin-1")
            if name == b"origin" and not self._guard.origin_allowed(origin, hosts[0]):
                return "pages of other origins are not served"
        return "GraphQL is asked with POST" if _executes_by_get(scope, headers) else ""


async def stands_by(scope: Scope, receive: Receive, send: Send) -> None:
    """The page of a role that waits: 503 and a sentence, wherever one looks.  `up` and `status`
    know it by the 503, which Dagster's own /server_info never is."""
    del receive
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": _STANDS_BY})
    elif scope["type"] == "http":
        await _say(send, 503, _STANDS_BY)


def _executes_by_get(scope: Scope, headers: list[tuple[bytes, bytes]]) -> bool:
    """Dagster executes mutations that come as GET, and an image of a foreign page sends no Origin.
    With text/html it answers its own page and executes nothing."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    accepts = next((value for name, value in headers if name == b"accept"), b"")  # as Dagster
    return scope["path"].rstrip("/").endswith("/graphql") and b"text/html" not in accepts


async def _refuse(scope: Scope, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        # Before it is open: the server answers 403.
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    await _say(send, 403, why)


async def _say(send: Send, status: int, sentence: str) -> None:
    body = f"{sentence}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _unframed(send: Send) -> Send:
    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], _FRAMES]
        await send(message)

    return with_header
