"""`POST /v1/rerank`, also at the paths where clients of other servers look for it."""

import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.rerank.record import RecordedReranks
from appliance.presentation import rerank
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.served import dropped_header

SURFACE = "rerank"
ROUTES = (
    "/v1/rerank",  # Cohere's v1, Jina, LiteLLM, Open WebUI
    "/v2/rerank",  # Cohere's v2
    "/rerank",  # vLLM, Infinity
    "/v1/reranking",  # llama.cpp
    "/reranking",
)


class RerankResource:
    """Decode, rerank, encode."""

    def __init__(self, service: RecordedReranks, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The documents, best first; `x-selected-model` says what scored them."""
        body = await read_body(req, self._max_body_bytes)
        context = context_of(req.scope)
        request = rerank.decode(body, context.headers)
        caller = Caller(context.identity, SURFACE, context.key)
        context.fields.update(request_model=request.model, message_count=len(request.documents))
        reranked = await self._service.rerank(request, caller)
        context.fields.update(
            response_model=reranked.model,
            backend="inference",
            input_tokens=reranked.input_tokens,
        )
        resp.set_header("x-selected-model", reranked.model)
        resp.set_header("x-selected-backend", "inference")
        if request.dropped:
            context.extra_headers.append(dropped_header(request.dropped))
        version = "2" if req.path.startswith("/v2/") else "1"
        resp.content_type = "application/json"
        resp.data = rerank.encode(reranked, request, context.identity.trace_id, version)
