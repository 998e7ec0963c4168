"""One resource for every chat surface: decode, serve, encode.  Step 2 of the path."""

import time
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote

import falcon.asgi

from appliance.domain.chat.service import ChatService
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.errors import ApplianceError
from appliance.domain.routing.candidate import Plan
from appliance.presentation.errors import view
from appliance.presentation.surface import Encoder, Surface
from appliance.transport.body import read_body
from appliance.transport.context import RequestContext, context_of
from appliance.transport.errors import put_error
from appliance.transport.streaming import AnswerStream, StreamTiming, sources_of

MAX_SOURCE_HEADER_BYTES = 2048


class ChatResource:
    """POST on each route of one surface."""

    def __init__(
        self,
        surface: Surface,
        service: ChatService,
        *,
        max_body_bytes: int,
        timing: StreamTiming,
    ) -> None:
        self._surface = surface
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._timing = timing

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Once or streamed, as the request says."""
        context = context_of(req.scope)
        body = await read_body(req, self._max_body_bytes)
        request = self._surface.decode(body, context.headers)
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
            _describe(context, turn)
            put_error(resp, view(exc), self._surface.error)
        except BaseException:
            _note(context, turn)
            raise

    async def _once(
        self,
        resp: falcon.asgi.Response,
        context: RequestContext,
        turn: Turn,
        encoder: Encoder,
    ) -> None:
        answer = await self._service.once(turn)
        _describe(context, turn)
        encoder.named(turn.plan.selected if turn.plan else "")
        resp.content_type = "application/json"
        resp.data = encoder.once(answer, sources_of(turn))

    async def _stream(
        self,
        resp: falcon.asgi.Response,
        context: RequestContext,
        turn: Turn,
        encoder: Encoder,
    ) -> None:
        stream = AnswerStream(
            self._service, turn, encoder, self._timing, on_end=lambda: _note(context, turn)
        )
        context.cleanup, context.interrupt = stream.close, stream.interrupt
        await stream.open()
        _describe(context, turn)
        encoder.named(turn.plan.selected if turn.plan else "")
        resp.content_type = self._surface.stream_type
        resp.set_headers([("cache-control", "no-cache"), ("x-accel-buffering", "no")])
        # Falcon iterates it once and calls close() whatever happened.
        resp.stream = cast(AsyncIterator[bytes], stream)


def _describe(context: RequestContext, turn: Turn) -> None:
    """What was done, in headers; and in the access log."""
    _note(context, turn)
    plan = turn.plan
    if plan is None:
        return
    context.extra_headers += _served(
        plan.selected,
        turn.attempts.current.backend if turn.attempts else "",
        _reason(turn, plan),
        turn.route if turn.provider else "",  # nothing is served before a backend is chosen
        turn.dropped or turn.request.dropped,
    )
    if turn.retrieval is not None:
        found = turn.retrieval
        hits = f"degraded:{found.degraded}" if found.degraded else str(len(found.hits))
        said = {"x-rag": hits, "x-rag-sources": _sources_header(found.hits)}
        context.extra_headers += _encoded(said)


@lru_cache(maxsize=256)  # a gateway says few things of who answered
def _served(
    model: str, backend: str, reason: str, route: str, dropped: tuple[str, ...]
) -> tuple[tuple[bytes, bytes], ...]:
    headers = {
        "x-selected-model": model,
        "x-selected-backend": backend,
        "x-router-reason": reason,
    }
    if route:
        headers["x-served-route"] = route
    if dropped:
        headers["x-dropped"] = ", ".join(dropped)[:MAX_SOURCE_HEADER_BYTES]
    return _encoded(headers)


def _encoded(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), _header_safe(value).encode()) for name, value in headers.items())


def _reason(turn: Turn, plan: Plan) -> str:
    """Why the plan, and what failed of it before somebody answered."""
    tried = turn.attempts.tried if turn.attempts else ()
    failed = [f"{a.backend}: {a.outcome}" for a in tried if a.outcome != "ok"]
    return f"{plan.reason}; after {', '.join(failed)}" if failed else plan.reason


def _sources_header(hits: Any) -> str:
    """`document#chunk;score`, comma separated, best first; percent-encoded, cut at a whole
    entry."""
    entries: list[str] = []
    for hit in hits:
        entry = f"{quote(hit.document)}#{hit.chunk};{hit.score:.4f}"
        if sum(map(len, entries)) + len(entry) + 2 * len(entries) > MAX_SOURCE_HEADER_BYTES:
            break
        entries.append(entry)
    return ", ".join(entries)


def _header_safe(value: str) -> str:
    return value if value.isascii() and value.isprintable() else quote(value, safe=" /:;,#*.@")


def _note(context: RequestContext, turn: Turn) -> None:
    plan, usage = turn.plan, turn.usage
    context.fields.update(
        request_model=turn.request.model,
        response_model=turn.response_model,
        backend=turn.attempts.current.backend if turn.attempts else "",
        stream=turn.request.stream,
        message_count=len(turn.request.messages),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        routing_decision=plan.reason if plan else "",
    )
    if turn.recorded is not None:
        context.fields["outcome"] = turn.recorded.status
        if turn.recorded.error_type:
            context.fields["error"] = turn.recorded.error_type
