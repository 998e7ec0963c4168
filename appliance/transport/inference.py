"""The inference role over HTTP: `/embed` and `/info` as in text-embeddings-inference, and health.

Statuses and `error_type` are that server's: 400 Empty, 413 Validation (a text or a batch too long),
422 Tokenizer (a body that is not understood), 424 Backend, 429 Overloaded.
"""

import array
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import falcon
import falcon.asgi
import msgspec

from appliance.domain.errors import (
    ApplianceError,
    BackendBusy,
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.identity import Identity
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.disconnect import DisconnectMiddleware
from appliance.transport.health import HealthResource, MetricsResource, ReadyResource
from appliance.transport.middleware import (
    AccessLogMiddleware,
    AccessWriter,
    ASGIApp,
    RequestContextMiddleware,
    ids,
)

MAX_BODY_BYTES = 8 * 1024 * 1024
_OCTETS, _JSON = "application/octet-stream", "application/json"
_log = logging.getLogger("appliance.inference")


class Vectors(Protocol):
    """float32, little-endian, row by row; `input_tokens` is what the model read."""

    @property
    def data(self) -> bytes: ...
    @property
    def count(self) -> int: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...


class Embedding(Protocol):
    """The model, as the routes need it."""

    async def embed(
        self,
        texts: list[str],
        *,
        truncate: bool,
        normalize: bool,
        direction: Literal["left", "right"],
        dimensions: int,
    ) -> Vectors:
        """Raises the errors that `_failure` knows."""


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """What `/info` says that does not change."""

    model_id: str
    vector_model: str  # what is stored beside the vectors
    dimensions: int
    max_input_tokens: int
    max_batch_tokens: int
    max_queue: int
    max_client_batch_size: int
    version: str


@dataclass(frozen=True, slots=True)
class RoleServices:
    """What the routes serve.  `precision` gives the graph in use and why it is not the first
    choice ("" if it is); `count` gets status, seconds and tokens of every request to /embed."""

    embedding: Embedding
    info: RoleInfo
    precision: Callable[[], tuple[str, str]]
    count: Callable[[int, float, int], None]
    metrics: Callable[[], bytes]
    identify: Callable[[str | None, str | None], Identity]
    monotonic: Callable[[], float]
    access_log: AccessWriter


class EmbedRequest(msgspec.Struct):
    """The body of `POST /embed`.  Unknown fields are ignored, as that server does."""

    inputs: str | list[str]
    truncate: bool | None = None
    normalize: bool = True
    truncation_direction: Literal["left", "right", "Left", "Right"] = "Right"
    prompt_name: str | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None


_decode = msgspec.json.Decoder(EmbedRequest).decode


class EmbedResource:
    """`POST /embed`: JSON rows, or float32 with `Accept: application/octet-stream` and `x-shape:
    n,256`."""

    def __init__(self, services: RoleServices) -> None:
        self._services = services

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`x-input-tokens` is what the model read, `x-model` what to store beside the vectors."""
        info = self._services.info
        started, status, tokens = self._services.monotonic(), 499, 0
        try:
            vectors = await self._embed(_parse(await read_body(req, MAX_BODY_BYTES)))
            status, tokens = 200, vectors.input_tokens
            resp.set_header("x-shape", f"{vectors.count},{vectors.dimensions}")
            resp.set_header("x-input-tokens", str(tokens))
            resp.set_header("x-model", info.vector_model)
            fields = {
                "request_model": info.model_id,
                "texts": vectors.count,
                "input_tokens": tokens,
            }
            context_of(req.scope).fields.update(fields)
            resp.content_type = req.client_prefers([_JSON, _OCTETS]) or _JSON
            resp.data = vectors.data if resp.content_type == _OCTETS else _as_json(vectors)
        except ApplianceError as exc:
            status, error_type = _failure(exc)
            _answer(resp, status, str(exc), error_type)
            context_of(req.scope).fields["error"] = str(exc)
        finally:
            self._services.count(status, self._services.monotonic() - started, tokens)

    async def _embed(self, body: EmbedRequest) -> Vectors:
        info = self._services.info
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        if len(texts) > info.max_client_batch_size:
            raise RequestTooLarge(
                f"batch size {len(texts)} > maximum allowed batch size {info.max_client_batch_size}"
            )
        if body.prompt_name:
            raise InvalidRequest(f"{info.model_id} has no prompts", param="prompt_name")
        if body.dimensions and body.dimensions > info.dimensions:
            raise InvalidRequest(
                f"{info.model_id} has {info.dimensions} dimensions", param="dimensions"
            )
        return await self._services.embedding.embed(
            texts,
            truncate=bool(body.truncate),
            normalize=body.normalize,
            direction="left" if body.truncation_direction.lower() == "left" else "right",
            dimensions=body.dimensions or info.dimensions,
        )


class InfoResource:
    """`GET /info`."""

    def __init__(self, services: RoleServices) -> None:
        self._services = services

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The fields clients of text-embeddings-inference read, and ours: dimensions,
        vector_model."""
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
        }
        resp.content_type = _JSON
        resp.data = msgspec.json.encode(body)


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


def _parse(body: bytes) -> EmbedRequest:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidRequest(
            f"Failed to deserialize the JSON body into the target type: {exc}"
        ) from exc


def _as_json(vectors: Vectors) -> bytes:
    numbers = array.array("f", vectors.data)
    if sys.byteorder == "big":
        numbers.byteswap()
    flat, width = numbers.tolist(), vectors.dimensions
    return msgspec.json.encode([flat[n : n + width] for n in range(0, len(flat), width)])


def _failure(error: ApplianceError) -> tuple[int, str]:
    match error:
        case ContextLengthExceeded() | RequestTooLarge():
            return 413, "Validation"
        case InvalidRequest(code="empty"):
            return 400, "Empty"
        case InvalidRequest():
            return 422, "Tokenizer"
        case BackendBusy():
            return 429, "Overloaded"
        case PartUnavailable():
            return 424, "Backend"
        case _:
            return 500, "Backend"


def _answer(resp: falcon.asgi.Response, status: int, message: str, error_type: str) -> None:
    resp.status = status
    resp.content_type = _JSON
    resp.data = msgspec.json.encode({"error": message, "error_type": error_type})
    if status == 429:
        resp.set_header("retry-after", "1")


async def _falcons(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Any, params: Any
) -> None:
    resp.set_headers(error.headers or {})
    _answer(resp, error.status_code, f"{req.method} {req.path}: {error.title}", "Validation")


async def _unexpected(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Any, params: Any
) -> None:
    _log.error("unexpected_error", exc_info=error, extra=ids(context_of(req.scope)))
    _answer(resp, 500, "an unexpected error: see the log", "Backend")
