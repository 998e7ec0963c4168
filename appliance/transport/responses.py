"""The routes of /v1/responses: make one, and read, cancel or delete those that are stored.  Step 2
of the path; the service is domain/responses/service.py."""

from collections.abc import AsyncIterator
from typing import Any, cast

import falcon.asgi

from appliance.domain.chat.counting import TokenCounts
from appliance.domain.chat.turn import Caller
from appliance.domain.errors import ApplianceError, InvalidRequest
from appliance.domain.responses.compaction import Compactor
from appliance.domain.responses.production import Production
from appliance.domain.responses.service import ResponseService
from appliance.presentation import openai_responses
from appliance.presentation.errors import view
from appliance.presentation.surface import RESPONSES
from appliance.transport.body import read_body
from appliance.transport.context import RequestContext, context_of
from appliance.transport.errors import put_error
from appliance.transport.reading import ReadingStream
from appliance.transport.responses_compact import CompactResource
from appliance.transport.responses_count import InputTokensResource
from appliance.transport.responses_socket import ResponsesSocket
from appliance.transport.served import describe, note

(ROUTE,) = RESPONSES.routes
_JSON = "application/json"
_EVENTS = "text/event-stream"
_UNBUFFERED = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class ResponsesResource:
    """POST: a new response, once, streamed, or in the background; or a WebSocket for many."""

    def __init__(
        self, service: ResponseService, socket: ResponsesSocket, max_body_bytes: int
    ) -> None:
        self._service = service
        self._socket = socket
        self._max_body_bytes = max_body_bytes

    async def on_websocket(self, req: falcon.asgi.Request, ws: falcon.asgi.WebSocket) -> None:
        """See ResponsesSocket."""
        await self._socket.serve(context_of(req.scope), ws)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """As the request says."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        asked = openai_responses.decode(body, context.headers)
        production = await self._service.begin(asked, caller_of(context))
        try:
            if asked.stream:
                await self._stream(resp, context, production)
            else:
                resp.data = await production.once()
                resp.content_type = _JSON
                _tell(context, production)
        except ApplianceError as exc:
            describe(context, production.turn)
            put_error(resp, view(exc), openai_responses.error)
        except BaseException:
            note(context, production.turn)
            raise

    async def _stream(
        self, resp: falcon.asgi.Response, context: RequestContext, production: Production
    ) -> None:
        stream = _Answer(production, context)
        context.cleanup, context.interrupt = stream.close, production.interrupt
        await production.open()
        _tell(context, production)
        _put_stream(resp, stream)


class ResponseResource:
    """One stored response."""

    def __init__(self, service: ResponseService) -> None:
        self._service = service

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, response_id: str
    ) -> None:
        """The resource; with `stream=true` its events, those after `starting_after`."""
        context = context_of(req.scope)
        if not _flag(req, "stream"):
            resp.content_type = _JSON
            resp.data = await self._service.get(response_id, caller_of(context))
            return
        after = _starting_after(req)
        chunks = await self._service.replay(response_id, caller_of(context), starting_after=after)
        stream = ReadingStream(chunks, after + 1, openai_responses.failure, context.identity)
        context.cleanup, context.interrupt = stream.close, stream.interrupt
        context.on_body_read()  # from here a hang-up is noticed
        _put_stream(resp, stream)

    async def on_delete(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, response_id: str
    ) -> None:
        """Nothing is kept of it any more."""
        await self._service.delete(response_id, caller_of(context_of(req.scope)))
        resp.content_type = _JSON
        resp.data = openai_responses.deleted(response_id)


class CancelResource:
    """Cancel one that is produced in the background."""

    def __init__(self, service: ResponseService, max_body_bytes: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes

    async def on_post(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, response_id: str
    ) -> None:
        """The resource as it is then; a body says nothing."""
        await read_body(req, self._max_body_bytes)
        resp.content_type = _JSON
        resp.data = await self._service.cancel(response_id, caller_of(context_of(req.scope)))


class InputItemsResource:
    """What the request of a stored response said."""

    def __init__(self, service: ResponseService) -> None:
        self._service = service

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, response_id: str
    ) -> None:
        """A page of it: `order`, `after`, `limit`."""
        items = await self._service.input_items(response_id, caller_of(context_of(req.scope)))
        query = {name: req.get_param(name) or "" for name in ("order", "after", "limit")}
        resp.content_type = _JSON
        resp.data = openai_responses.input_items_page(items, query)


def add_responses_routes(
    app: "falcon.asgi.App[Any, Any]",
    service: ResponseService,
    compactor: Compactor,
    counts: TokenCounts,
    socket: ResponsesSocket,
    max_body_bytes: int,
) -> None:
    """All of them."""
    one = f"{ROUTE}/{{response_id}}"
    app.add_route(ROUTE, ResponsesResource(service, socket, max_body_bytes))
    app.add_route(f"{ROUTE}/compact", CompactResource(compactor, service, max_body_bytes))
    counting = InputTokensResource(service, counts, max_body_bytes)
    app.add_route(f"{ROUTE}/input_tokens", counting)
    app.add_route(one, ResponseResource(service))
    app.add_route(f"{one}/cancel", CancelResource(service, max_body_bytes))
    app.add_route(f"{one}/input_items", InputItemsResource(service))


def caller_of(context: RequestContext) -> Caller:
    """Who asks, on this surface."""
    return Caller(context.identity, RESPONSES.name, context.key)


class _Answer:
    """A production as Falcon's stream."""

    def __init__(self, production: Production, context: RequestContext) -> None:
        self._production = production
        self._context = context

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._production.frames()

    async def close(self) -> None:
        """See Production.close."""
        await self._production.close()
        note(self._context, self._production.turn)


def _tell(context: RequestContext, production: Production) -> None:
    describe(context, production.turn)
    if production.unstored:
        context.extra_headers.append((b"x-store", production.unstored.encode()))


def _put_stream(resp: falcon.asgi.Response, stream: "_Answer | ReadingStream") -> None:
    resp.content_type = _EVENTS
    resp.set_headers(list(_UNBUFFERED))
    # Falcon iterates it once and calls close() whatever happened.
    resp.stream = cast(AsyncIterator[bytes], stream)


def _flag(req: falcon.asgi.Request, name: str) -> bool:
    value = (req.get_param(name) or "false").lower()
    if value not in ("true", "false"):
        raise InvalidRequest(f"{name} must be true or false", param=name)
    return value == "true"


def _starting_after(req: falcon.asgi.Request) -> int:
    """-1 where it is not given: from the first event on."""
    value = req.get_param("starting_after") or ""
    if not value:
        return -1
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InvalidRequest("starting_after must be a sequence number", param="starting_after")
    return int(value)
