"""`POST /v1/moderations`."""

import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.moderation.service import ModerationService
from appliance.presentation import openai_moderations
from appliance.transport.body import read_body
from appliance.transport.context import context_of

SURFACE = "openai_moderations"


class ModerationsResource:
    """Decode, moderate, encode."""

    def __init__(self, service: ModerationService, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """One result an input."""
        body = await read_body(req, self._max_body_bytes)
        context = context_of(req.scope)
        request = openai_moderations.decode(body, context.headers)
        caller = Caller(context.identity, SURFACE, context.key)
        moderated = await self._service.moderate(request, caller)
        context.fields.update(
            request_model=request.model,
            response_model=moderated.model,
            backend=moderated.backend,
            message_count=len(request.inputs),
        )
        resp.content_type = "application/json"
        resp.data = openai_moderations.encode(moderated, context.identity.trace_id)
