"""POST /v1/responses/input_tokens: how many tokens a request has, without answering it."""

import falcon.asgi

from appliance.domain.chat.counting import TokenCounts
from appliance.domain.chat.turn import Caller
from appliance.domain.responses.service import ResponseService
from appliance.presentation import openai_responses
from appliance.presentation.surface import RESPONSES
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.counting import put_count


class InputTokensResource:
    """The body is that of a response; what it continues is counted with it."""

    def __init__(
        self, responses: ResponseService, counts: TokenCounts, max_body_bytes: int
    ) -> None:
        self._responses = responses
        self._counts = counts
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See put_count."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        asked = openai_responses.decode(body, context.headers)
        caller = Caller(context.identity, RESPONSES.name, context.key)
        request = await self._responses.prompt(asked, caller)
        counted = await self._counts.count(request, context.identity)
        put_count(resp, counted, openai_responses.input_tokens)
