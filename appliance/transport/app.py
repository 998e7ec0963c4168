"""The gateway's HTTP application: every route and the middleware around them.  Step 1 of the
path."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import falcon.asgi

from appliance.domain.access.keys import KeyRing
from appliance.domain.access.origin import OriginGuard
from appliance.domain.chat.counting import TokenCounts
from appliance.domain.chat.service import ChatService
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.domain.feedback.service import FeedbackService
from appliance.domain.identity import Identity
from appliance.domain.moderation.service import ModerationService
from appliance.domain.rerank.record import RecordedReranks
from appliance.domain.responses.compaction import Compactor
from appliance.domain.responses.service import ResponseService
from appliance.domain.routing.models import ModelService
from appliance.presentation.surface import ChatSurface, StoredSurface, Surface
from appliance.transport import errors
from appliance.transport.chat import ChatResource
from appliance.transport.counting import CountResource
from appliance.transport.disconnect import DisconnectMiddleware
from appliance.transport.embeddings import EmbeddingsResource
from appliance.transport.feedback import FeedbackResource
from appliance.transport.health import (
    HealthResource,
    MetricsResource,
    ReadyResource,
    Report,
    RootResource,
)
from appliance.transport.middleware import (
    AccessLogMiddleware,
    AccessMiddleware,
    AccessWriter,
    ASGIApp,
    RecoveryMiddleware,
    RequestContextMiddleware,
)
from appliance.transport.models import ModelResource, ModelsResource, Names
from appliance.transport.moderations import ModerationsResource
from appliance.transport.ollama import add_ollama_routes
from appliance.transport.rerank import ROUTES as RERANK_ROUTES
from appliance.transport.rerank import RerankResource
from appliance.transport.responses import add_responses_routes
from appliance.transport.responses_socket import ResponsesSocket, SocketSettings
from appliance.transport.shapes import Shapes
from appliance.transport.streaming import StreamTiming

App = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes serve."""

    chat: ChatService
    counts: TokenCounts
    embeddings: RecordedEmbeddings
    feedback: FeedbackService
    responses: ResponseService
    compactor: Compactor
    moderation: ModerationService
    rerank: RecordedReranks
    names: Names
    models: ModelService
    ready: Report
    metrics: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Limits and guards of the HTTP side; `started` in Unix seconds."""

    max_body_bytes: int
    timing: StreamTiming
    guard: OriginGuard
    keys: Callable[[], KeyRing]
    identify: Callable[[str | None, str | None], Identity]
    monotonic: Callable[[], float]
    access_log: AccessWriter
    websocket_idle_s: float
    started: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """The application, and how to end what it is doing: `drain(within_s)`; `sockets_over` returns
    when no WebSocket is open."""

    app: ASGIApp
    drain: Callable[[float], Awaitable[None]]
    sockets_over: Callable[[], Awaitable[None]]


def build_app(surfaces: Sequence[Surface], services: Services, http: HttpSettings) -> Gateway:
    """Routes, then middleware from the inside out."""
    shapes = Shapes(surfaces)
    app: App = falcon.asgi.App()
    app.ws_options.max_receive_queue = 0  # a reader of ours always waits
    errors.install(app, shapes)
    for surface in surfaces:
        match surface:
            case ChatSurface():
                _add_chat(app, surface, services, http)
            case StoredSurface():
                _add_responses(app, services, http)
    _add_others(app, services, http, shapes)
    return _surround(app, shapes, http, services.responses)


def _add_chat(app: App, surface: ChatSurface, services: Services, http: HttpSettings) -> None:
    resource = ChatResource(
        surface,
        services.chat,
        services.models,
        max_body_bytes=http.max_body_bytes,
        timing=http.timing,
    )
    for route in surface.routes:
        app.add_route(route, resource)
    if surface.counter is not None:
        counting = CountResource(surface.counter, services.counts, http.max_body_bytes)
        app.add_route(surface.counter.route, counting)


def _add_responses(app: App, services: Services, http: HttpSettings) -> None:
    """Of RESPONSES, the one stored surface there is: `services.responses` speaks its wire."""
    socket = ResponsesSocket(
        services.responses,
        SocketSettings(http.max_body_bytes, http.websocket_idle_s),
        identify=http.identify,
        monotonic=http.monotonic,
        access_log=http.access_log,
    )
    add_responses_routes(
        app,
        services.responses,
        services.compactor,
        services.counts,
        socket,
        http.max_body_bytes,
    )


def _add_others(app: App, services: Services, http: HttpSettings, shapes: Shapes) -> None:
    """What is no surface's: what else models do, which there are, and how the gateway is."""
    most_bytes = http.max_body_bytes
    app.add_route("/v1/embeddings", EmbeddingsResource(services.embeddings, most_bytes))
    app.add_route("/v1/feedback", FeedbackResource(services.feedback, most_bytes))
    app.add_route("/v1/moderations", ModerationsResource(services.moderation, most_bytes))
    for path in RERANK_ROUTES:
        app.add_route(path, RerankResource(services.rerank, most_bytes))
    app.add_route("/v1/models", ModelsResource(services.names, shapes, http.started))
    app.add_route("/v1/models/{model:path}", ModelResource(services.names, shapes, http.started))
    add_ollama_routes(
        app,
        services.models,
        services.embeddings,
        max_body_bytes=most_bytes,
        started=http.started,
    )
    for path in ("/healthz", "/health"):
        app.add_route(path, HealthResource())
    app.add_route("/", RootResource())
    app.add_route("/ready", ReadyResource(services.ready))
    app.add_route("/metrics", MetricsResource(services.metrics))


def _surround(
    app: ASGIApp, shapes: Shapes, http: HttpSettings, responses: ResponseService
) -> Gateway:
    watched = DisconnectMiddleware(AccessMiddleware(app, http.keys, http.guard, shapes))
    recovered = RecoveryMiddleware(watched, shapes)
    logged = AccessLogMiddleware(recovered, http.monotonic, http.access_log)
    outermost = RequestContextMiddleware(
        logged, http.identify, http.monotonic, keepalive_s=http.timing.keepalive_s
    )

    async def drain(within_s: float) -> None:
        """Of requests, and of responses that are produced without one."""
        await asyncio.gather(watched.drain(within_s), responses.drain(within_s))

    return Gateway(outermost, drain, watched.sockets_over)
