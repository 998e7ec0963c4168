"""The application of the inference role: its routes, `/info`, and the middleware around them."""

import logging
from typing import Any

import falcon
import falcon.asgi
import msgspec

from appliance.domain.rerank.ports import Kind
from appliance.transport.context import context_of
from appliance.transport.disconnect import DisconnectMiddleware
from appliance.transport.health import HealthResource, MetricsResource, ReadyResource
from appliance.transport.inference.answers import JSON, put_failure
from appliance.transport.inference.embed import EmbedResource
from appliance.transport.inference.rerank import ROUTES, RerankResource
from appliance.transport.inference.services import RoleServices
from appliance.transport.middleware import (
    AccessLogMiddleware,
    ASGIApp,
    RequestContextMiddleware,
    ids,
)

_log = logging.getLogger("appliance.inference")


class InfoResource:
    """`GET /info`."""

    def __init__(self, services: RoleServices) -> None:
        self._services = services

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The fields clients of text-embeddings-inference read, and ours: dimensions,
        vector_model, rerankers (the best first), max_rerank_texts."""
        info = self._services.info
        body = {
            "model_id": info.model_id,
            "model_sha": None,
            "model_dtype": self._services.precision()[0],
            "model_type": {"embedding": {"pooling": "mean"}},
            "max_concurrent_requests": info.max_queue,
            "max_input_length": info.max_input_tokens,
            "max_batch_tokens": info.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": info.max_client_batch_size,
            "auto_truncate": False,
            "tokenization_workers": 1,
            "version": info.version,
            "sha": None,
            "docker_label": None,
            "dimensions": info.dimensions,
            "vector_model": info.vector_model,
            "rerankers": self._rerankers(),
            "max_rerank_texts": info.max_rerank_texts,
        }
        resp.content_type = JSON
        resp.data = msgspec.json.encode(body)

    def _rerankers(self) -> list[dict[str, str]]:
        found: list[tuple[Kind, str]] = [
            (kind, ranker.model) for kind in ROUTES if (ranker := self._services.ranker(kind))
        ]
        return [{"model": model, "kind": kind, "route": ROUTES[kind]} for kind, model in found]


def build_inference_app(services: RoleServices) -> ASGIApp:
    """Routes, then middleware from the inside out."""
    app: falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response] = falcon.asgi.App()
    app.add_error_handler(falcon.HTTPError, _falcons)
    app.add_error_handler(Exception, _unexpected)

    async def ready() -> tuple[bool, dict[str, Any]]:
        precision, degraded = services.precision()
        return True, {
            "status": "degraded" if degraded else "ready",
            "model": services.info.vector_model,
            "precision": precision,
            "degraded": {precision: degraded} if degraded else {},
        }

    app.add_route("/embed", EmbedResource(services))
    for kind, route in ROUTES.items():
        app.add_route(route, RerankResource(kind, services))
    app.add_route("/info", InfoResource(services))
    app.add_route("/ready", ReadyResource(ready))
    app.add_route("/metrics", MetricsResource(services.metrics))
    for path in ("/healthz", "/health"):
        app.add_route(path, HealthResource())
    watched = AccessLogMiddleware(
        DisconnectMiddleware(app), services.monotonic, services.access_log
    )
    return RequestContextMiddleware(
        watched, services.identify, services.monotonic, keepalive_s=3600.0
    )


async def _falcons(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Any, params: Any
) -> None:
    resp.set_headers(error.headers or {})
    put_failure(resp, error.status_code, f"{req.method} {req.path}: {error.title}", "Validation")


async def _unexpected(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Any, params: Any
) -> None:
    _log.error("unexpected_error", exc_info=error, extra=ids(context_of(req.scope)))
    put_failure(resp, 500, "an unexpected error: see the log", "Backend")
