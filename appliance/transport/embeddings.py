"""`POST /v1/embeddings`."""

import falcon.asgi

from appliance.domain.embeddings.service import EmbeddingService
from appliance.presentation import openai_embeddings
from appliance.transport.body import read_body
from appliance.transport.context import context_of


class EmbeddingsResource:
    """Decode, embed, encode."""

    def __init__(self, service: EmbeddingService, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """One vector a text."""
        body = await read_body(req, self._max_body_bytes)
        request, encoding_format = openai_embeddings.decode(body)
        context = context_of(req.scope)
        embedded = await self._service.embed(request, context.identity)
        context.fields.update(
            request_model=request.model,
            response_model=embedded.model,
            message_count=len(request.texts),
            input_tokens=embedded.input_tokens,
        )
        resp.content_type = "application/json"
        resp.data = openai_embeddings.encode(embedded, request.model, encoding_format)
