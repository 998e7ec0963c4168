"""How many tokens a prompt has, without answering it."""

from collections.abc import Callable

import falcon.asgi

from appliance.domain.chat.counting import Counted, TokenCounts
from appliance.presentation.surface import Counter
from appliance.transport.body import read_body
from appliance.transport.context import context_of


class CountResource:
    """POST on the counting route of one surface."""

    def __init__(self, counter: Counter, counts: TokenCounts, max_body_bytes: int) -> None:
        self._counter = counter
        self._counts = counts
        self._max_body_bytes = max_body_bytes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See put_count."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        request = self._counter.decode(body, context.headers)
        counted = await self._counts.count(request, context.identity)
        put_count(resp, counted, self._counter.encode)


def put_count(resp: falcon.asgi.Response, counted: Counted, encode: Callable[[int], bytes]) -> None:
    """The count; `x-token-count` says whether a tokenizer counted or we estimated."""
    resp.content_type = "application/json"
    resp.data = encode(counted.input_tokens)
    resp.set_header("x-token-count", counted.source)
    resp.set_header("x-selected-backend", counted.backend)
