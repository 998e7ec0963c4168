"""The HTTP/1.1 client of the request path; every dialect sends with it.

    models = Target.parse(config.base_url).at("/models")          # once
    response = await client.send("GET", models, {}, timeout_s=10)  # headers are in
    async with aclosing(response):
        async for piece in response.chunks(read_timeout_s=60): ...
        # or: body = await response.read(limit_bytes=1 << 20, read_timeout_s=60)

Lean on purpose (general clients cost 2 to 50 times more per request): HTTP/1.1, keep-alive, TLS,
chunked, sized and until-close bodies.  No redirects, no decompression (it asks for `identity`), no
proxies, no cookies, no limit on open connections.  Interim (1xx) responses are skipped.
Cancelling any await hangs up at once.  Errors: `errors.HttpError` and below, see there.
"""

import asyncio
import ssl

from .connection import Connection
from .errors import ClosedEarly
from .pool import Pool
from .request import Headers, encode
from .response import Response
from .target import Origin, Target

__all__ = ["HttpClient", "Origin", "Response", "Target"]


class HttpClient:
    """Sends requests over pooled connections; belongs to one event loop."""

    def __init__(
        self,
        *,
        connect_timeout_s: float = 5.0,
        idle_s: float = 30.0,
        max_idle_per_origin: int = 256,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Stores only.  `tls` replaces the default context, which trusts the system's CAs."""
        self._connect_timeout_s = connect_timeout_s
        self._pool = Pool(idle_s=idle_s, max_idle_per_origin=max_idle_per_origin, tls=tls)

    async def send(
        self,
        method: str,
        url: Target | str,
        headers: Headers,
        body: bytes = b"",
        *,
        timeout_s: float,
        connect_timeout_s: float | None = None,
    ) -> Response:
        """Send a request; returns when the response's headers are in, or raises after `timeout_s`.

        Host, Content-Length and Accept-Encoding are set here and refused in `headers`; a header or
        URL that would not survive the wire raises Unsendable.  Connecting has a limit of its own:
        `connect_timeout_s`, by default the client's.
        """
        target = url if isinstance(url, Target) else Target.parse(url)
        head = encode(method, target, headers, len(body))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        connection = self._pool.take(target.origin)
        if connection is not None:
            try:
                return await self._exchange(connection, head, body, timeout_s)
            except ClosedEarly:
                # It idled and the server had closed it, or was about to: llama.cpp does so after a
                # stream.  One fresh connection tells that from a server that is gone.
                timeout_s = max(0.0, deadline - loop.time())
        if connect_timeout_s is None:
            connect_timeout_s = self._connect_timeout_s
        connection = await self._pool.connect(target.origin, connect_timeout_s)
        return await self._exchange(connection, head, body, timeout_s)

    async def _exchange(
        self, connection: Connection, head: bytes, body: bytes, timeout_s: float
    ) -> Response:
        await connection.start(head, body, timeout_s)
        return Response(connection, self._pool.give)

    async def aclose(self) -> None:
        """Close all connections; responses still being read are cut."""
        self._pool.close()
