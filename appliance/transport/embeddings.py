"""`POST /v1/embeddings`."""

import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.embeddings.record import RecordedEmbeddings
from appliance.presentation import openai_embeddings
from appliance.transport.body import read_body
from appliance.transport.context import context_of

SURFACE = "openai_embeddings"


class EmbeddingsResource:
    """Decode, embed, encode."""

    def __init__(self, service: RecordedEmbeddings, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """One vector a text."""
        body = await read_body(req, self._max_body_bytes)
        context = context_of(req.scope)
        request, encoding_format = openai_embeddings.decode(body, context.headers)
        caller = Caller(context.identity, SURFACE, context.key)
        embedded = await self._service.embed(request, caller)
        context.fields.update(
            request_model=request.model,
            response_model=embedded.model,
            backend=embedded.backend,
            message_count=len(request.texts),
            input_tokens=embedded.input_tokens,
        )
        resp.content_type = "application/json"
        resp.data = openai_embeddings.encode(embedded, request.model, encoding_format)
