"""`POST /v1/feedback`."""

import falcon
import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.feedback.service import FeedbackService
from appliance.presentation import feedback
from appliance.transport.body import read_body
from appliance.transport.context import context_of

SURFACE = "feedback"


class FeedbackResource:
    """Decode, take, answer that it was taken."""

    def __init__(self, service: FeedbackService, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = min(max_body_bytes, feedback.MAX_BODY_BYTES)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """202: it is kept, and becomes a row later."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        given, extensions = feedback.decode(body, context.headers)
        caller = Caller(context.identity, SURFACE, context.key)
        stored = self._service.take(given, caller, extensions)
        context.fields.update(rated_trace_id=given.rated_trace_id, stored=stored)
        resp.status = falcon.HTTP_202
        resp.content_type = "application/json"
        resp.data = feedback.encode(context.identity.trace_id, given, stored=stored)
