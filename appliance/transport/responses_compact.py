"""POST /v1/responses/compact: a conversation becomes a summary its client carries.  The service is
domain/responses/compaction.py."""

import falcon.asgi

from appliance.domain.chat.turn import Caller
from appliance.domain.errors import ApplianceError, InvalidRequest
from appliance.domain.responses.compaction import Compactor
from appliance.domain.responses.continuation import Continued
from appliance.domain.responses.service import ResponseService
from appliance.presentation import openai_responses
from appliance.presentation.errors import view
from appliance.presentation.surface import RESPONSES
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.errors import put_error
from appliance.transport.served import describe, note


class CompactResource:
    """Whatever the client wants to go on with: items, a stored response, or both."""

    def __init__(
        self, compactor: Compactor, responses: ResponseService, max_body_bytes: int
    ) -> None:
        self._compactor = compactor
        self._responses = responses
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Once; nothing of it is stored but the record of its exchange."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        asked = openai_responses.decode(body, context.headers)
        if not asked.model:
            raise InvalidRequest("model: name the model that is to summarise", param="model")
        caller = Caller(context.identity, RESPONSES.name, context.key)
        before = Continued()
        if asked.previous_response_id:
            before = await self._responses.continued(asked.previous_response_id, caller)
        turn = self._compactor.turn(asked.continued(before.items), caller, before.conversation_id)
        try:
            compaction = await self._compactor.compact(turn, (*before.items, *asked.items))
        except ApplianceError as exc:
            describe(context, turn)
            put_error(resp, view(exc), openai_responses.error)
            return
        except BaseException:
            note(context, turn)
            raise
        describe(context, turn)
        resp.content_type = "application/json"
        resp.data = openai_responses.compacted(
            context.identity.trace_id,
            int(turn.wall),
            compaction.kept,
            compaction.sealed,
            compaction.usage,
        )
