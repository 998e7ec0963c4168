"""One resource for every chat surface: decode, serve, encode.  Step 2 of the path."""

import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import falcon.asgi

from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import ApplianceError
from appliance.domain.routing.models import ModelService
from appliance.presentation.errors import view
from appliance.presentation.surface import ChatSurface, Encoder
from appliance.transport.body import read_body
from appliance.transport.context import RequestContext, context_of
from appliance.transport.errors import put_error
from appliance.transport.served import describe, note
from appliance.transport.streaming import AnswerStream, StreamTiming, sources_of


class ChatResource:
    """POST on each route of one surface."""

    def __init__(
        self,
        surface: ChatSurface,
        service: ChatService,
        models: ModelService,
        *,
        max_body_bytes: int,
        timing: StreamTiming,
    ) -> None:
        self._surface = surface
        self._service = service
        self._models = models
        self._max_body_bytes = max_body_bytes
        self._timing = timing

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Once or streamed, as the request says."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        request = self._surface.decode(body, context.headers)
        if self._surface.loaded is not None and not request.messages:
            await self._load(resp, context, request, self._surface.loaded)
            return
        if context.key is not None and request.extensions.workspace:
            context.key.require_workspace(request.extensions.workspace)
        caller = Caller(context.identity, self._surface.name, context.key)
        turn = self._service.turn(request, caller)
        encoder = self._surface.encoder(request, context.identity.trace_id, int(time.time()))
        try:
            if request.stream:
                await self._stream(resp, context, turn, encoder)
            else:
                await self._once(resp, context, turn, encoder)
        except ApplianceError as exc:
            describe(context, turn)
            put_error(resp, view(exc), self._surface.error)
        except BaseException:
            note(context, turn)
            raise

    async def _load(
        self,
        resp: falcon.asgi.Response,
        context: RequestContext,
        request: ChatRequest,
        loaded: Callable[[ChatRequest, str], bytes],
    ) -> None:
        """There is nothing to answer: no turn, and no record."""
        model = await self._models.load(request, context.identity)
        context.fields.update(request_model=request.model, response_model=model)
        resp.content_type = self._surface.once_type
        resp.data = loaded(request, request.model or model)

    async def _once(
        self,
        resp: falcon.asgi.Response,
        context: RequestContext,
        turn: Turn,
        encoder: Encoder,
    ) -> None:
        answer = await self._service.once(turn)
        describe(context, turn)
        encoder.named(turn.plan.selected if turn.plan else "")
        resp.content_type = self._surface.once_type
        resp.data = encoder.once(answer, sources_of(turn))

    async def _stream(
        self,
        resp: falcon.asgi.Response,
        context: RequestContext,
        turn: Turn,
        encoder: Encoder,
    ) -> None:
        stream = AnswerStream(
            self._service, turn, encoder, self._timing, on_end=lambda: note(context, turn)
        )
        context.cleanup, context.interrupt = stream.close, stream.interrupt
        await stream.open()
        describe(context, turn)
        encoder.named(turn.plan.selected if turn.plan else "")
        if self._surface.keep_alive is not None:
            model = turn.request.model or (turn.plan.selected if turn.plan else "")
            context.filler = self._surface.keep_alive(turn.request, model)
        resp.content_type = self._surface.stream_type
        resp.set_headers([("cache-control", "no-cache"), ("x-accel-buffering", "no")])
        # Falcon iterates it once and calls close() whatever happened.
        resp.stream = cast(AsyncIterator[bytes], stream)
