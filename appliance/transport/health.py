"""Is the process there (`/healthz`, `/health`), can it serve (`/ready`), what has it done
(`/metrics`)."""

from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi
import msgspec

from appliance.transport.ollama import RUNNING, asks_as_ollama

Report = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]

_ROOT = msgspec.json.encode(
    {
        "service": "agent-gateway appliance",
        "openai": "/v1",
        "anthropic": "/",
        "ollama": "/",
        "ready": "/ready",
    }
)


class HealthResource:
    """Answers while the event loop turns; asks nothing else."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200, always."""
        resp.content_type = "application/json"
        resp.data = b'{"status":"ok"}'


class ReadyResource:
    """200 when a backend can answer, with each degraded part named; 503 otherwise."""

    def __init__(self, report: Report) -> None:
        self._report = report

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`{"status", "parts": {name: "ok" | why not}, …}`."""
        ready, body = await self._report()
        resp.status = 200 if ready else 503
        resp.content_type = "application/json"
        resp.data = msgspec.json.encode(body)


class MetricsResource:
    """Prometheus's text format."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The exposition."""
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._render()


class RootResource:
    """`/`: what this is and where to look.  Claude Code asks it with HEAD whether we are there."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A line of JSON; `openai`, `anthropic` and `ollama` are what such a client takes as its
        base URL.  Clients of the last want Ollama's own words."""
        if asks_as_ollama(req.get_header("user-agent") or "", req.get_header("accept") or ""):
            resp.content_type = "text/plain; charset=utf-8"
            resp.data = RUNNING
            return
        resp.content_type = "application/json"
        resp.data = _ROOT

    async def on_head(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The headers of the same."""
        await self.on_get(req, resp)
