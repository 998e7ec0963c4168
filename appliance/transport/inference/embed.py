"""`POST /embed` of the inference role."""

import array
import sys
from typing import Annotated, Literal

import falcon.asgi
import msgspec

from appliance.domain.errors import ApplianceError, InvalidRequest, RequestTooLarge
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.inference.answers import JSON, failure, parse, put_failure
from appliance.transport.inference.services import RoleServices, Vectors

_OCTETS = "application/octet-stream"


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
            vectors = await self._embed(parse(_decode, await read_body(req, info.max_body_bytes)))
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
            resp.content_type = req.client_prefers([JSON, _OCTETS]) or JSON
            resp.data = vectors.data if resp.content_type == _OCTETS else _as_json(vectors)
        except ApplianceError as exc:
            status, error_type = failure(exc)
            put_failure(resp, status, str(exc), error_type)
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


def _as_json(vectors: Vectors) -> bytes:
    numbers = array.array("f", vectors.data)
    if sys.byteorder == "big":
        numbers.byteswap()
    flat, width = numbers.tolist(), vectors.dimensions
    return msgspec.json.encode([flat[n : n + width] for n in range(0, len(flat), width)])
