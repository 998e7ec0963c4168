"""The routes of Ollama's wire that are no chat: embeddings, and what there is of models.

Which models there are is the business of the backends: a request to delete one, or to pull one that
is not there, is refused in words.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import ModelNotFound, PermissionDenied
from appliance.domain.routing.models import ModelService
from appliance.presentation import ollama
from appliance.transport.body import read_body
from appliance.transport.context import RequestContext, context_of
from appliance.transport.served import dropped_header

DIALECT = "ollama"
JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
RUNNING = b"Ollama is running"  # some clients look for these words
MANAGED = ("push", "create", "copy", "delete", "blobs/{digest}")
Decode = Callable[[bytes, Mapping[str, str]], EmbeddingRequest]
Encode = Callable[[Embedded, str, int], bytes]


def add_ollama_routes(
    app: "falcon.asgi.App[Any, Any]",
    models: ModelService,
    embeddings: RecordedEmbeddings,
    *,
    max_body_bytes: int,
    started: int,
) -> None:
    """All but the two that answer (see SURFACES); `started` in Unix seconds."""
    forms: Mapping[str, tuple[Decode, Encode]] = {
        "embed": (ollama.decode_embed, ollama.encode_embed),
        "embeddings": (ollama.decode_embeddings, ollama.encode_embeddings),
    }
    for name, (decode, encode) in forms.items():
        resource = EmbedResource(embeddings, decode, encode, max_body_bytes)
        app.add_route(f"/api/{name}", resource)
    app.add_route("/api/tags", TagsResource(models, started))
    app.add_route("/api/show", ShowResource(models, started, max_body_bytes))
    app.add_route("/api/ps", RunningResource(models))
    app.add_route("/api/version", VersionResource())
    app.add_route("/api/pull", PullResource(models, max_body_bytes))
    for name in MANAGED:
        app.add_route(f"/api/{name}", ManagedResource())


def asks_as_ollama(user_agent: str, accepts: str) -> bool:
    """True for who asks `/` whether Ollama is running: its own clients by their name, and all that
    take text, as scripts do that look for its words; not a browser, nor who wants JSON."""
    if "ollama" in user_agent.lower() or "text/plain" in accepts:
        return True
    return "json" not in accepts and "html" not in accepts


class EmbedResource:
    """Vectors, in either form of the wire."""

    def __init__(
        self, service: RecordedEmbeddings, decode: Decode, encode: Encode, max_body_bytes: int
    ) -> None:
        self._service = service
        self._decode = decode
        self._encode = encode
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """One vector a text; none where there is no text, which only loads a model."""
        began = time.monotonic_ns()
        body = await read_body(req, self._max_body_bytes)
        context = context_of(req.scope)
        request = self._decode(body, context.headers)
        embedded = Embedded([], request.model, None)
        if request.texts:
            caller = Caller(context.identity, "ollama_embed", context.key)
            embedded = await self._service.embed(request, caller)
            _note(context, request, embedded)
        resp.content_type = JSON
        resp.data = self._encode(embedded, request.model, time.monotonic_ns() - began)


class TagsResource:
    """Every model there is."""

    def __init__(self, models: ModelService, started: int) -> None:
        self._models = models
        self._started = started

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`{"models": […]}`."""
        resp.content_type = JSON
        resp.data = ollama.tags(await self._models.names(), self._started)

    async def on_head(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The headers of the same."""
        await self.on_get(req, resp)


class ShowResource:
    """One model."""

    def __init__(self, models: ModelService, started: int, max_body_bytes: int) -> None:
        self._models = models
        self._started = started
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """All that is known of it.  Raises ModelNotFound, in Ollama's words."""
        name = ollama.decode_named(await read_body(req, self._max_body_bytes))
        try:
            known = await self._models.show(name, dialect=DIALECT)
        except ModelNotFound:
            raise ollama.not_found(name) from None
        resp.content_type = JSON
        resp.data = ollama.show(known, self._started)


class RunningResource:
    """The models in memory, as far as their servers tell."""

    def __init__(self, models: ModelService) -> None:
        self._models = models

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`{"models": […]}`."""
        resp.content_type = JSON
        resp.data = ollama.running(await self._models.running())


class VersionResource:
    """The version of the wire."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`{"version": "…"}`."""
        resp.content_type = JSON
        resp.data = ollama.version()

    async def on_head(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The headers of the same."""
        await self.on_get(req, resp)


class PullResource:
    """A model that is there needs no pulling, and programs that pull theirs at every start are told
    so; any other is the business of a backend."""

    def __init__(self, models: ModelService, max_body_bytes: int) -> None:
        self._models = models
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The end of a pull, the same streamed and at once.  Raises PermissionDenied."""
        name = ollama.decode_named(await read_body(req, self._max_body_bytes))
        if not await self._models.knows(name):
            raise _managed(req)
        resp.content_type = NDJSON
        resp.data = ollama.pulled()


class ManagedResource:
    """Whatever would change which models there are."""

    async def on_post(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, digest: str = ""
    ) -> None:
        """Raises PermissionDenied, always."""
        raise _managed(req)

    async def on_delete(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, digest: str = ""
    ) -> None:
        """As on_post."""
        await self.on_post(req, resp, digest)

    async def on_head(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, digest: str = ""
    ) -> None:
        """As on_post."""
        await self.on_post(req, resp, digest)


def _managed(req: falcon.asgi.Request) -> PermissionDenied:
    return PermissionDenied(
        f"{req.path}: models are managed on the backends, not through this gateway; "
        "GET /api/tags lists what they have."
    )


def _note(context: RequestContext, request: EmbeddingRequest, embedded: Embedded) -> None:
    """For the access log; and what a backend of another dialect was not sent, for the client."""
    context.fields.update(
        request_model=request.model,
        response_model=embedded.model,
        backend=embedded.backend,
        message_count=len(request.texts),
        input_tokens=embedded.input_tokens,
    )
    lost = [name for name in request.params if name != "truncate"]
    if lost and embedded.provider != DIALECT:
        context.extra_headers.append(dropped_header(lost))
