"""One turn of a WebSocket of /v1/responses: a frame becomes a request, a response its text frames.
Steps 2 and 9 of the path; called by responses_socket.py.

A response that is not stored lives on in the connection's memory, where the next turn may continue
it.  A continuation that fails evicts what it continued: its client starts again from its own copy.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from falcon.errors import WebSocketDisconnected

from appliance.domain.chat.turn import Caller
from appliance.domain.errors import ApplianceError, RequestTooLarge
from appliance.domain.responses.continuation import Continued
from appliance.domain.responses.memory import Memory, Remembered
from appliance.domain.responses.production import Production
from appliance.domain.responses.record import Item, id_of
from appliance.domain.responses.service import ResponseService
from appliance.presentation import openai_responses
from appliance.presentation.errors import view
from appliance.presentation.openai_responses.decode import WireResponseRequest
from appliance.presentation.openai_responses.socket import (
    Frame,
    error_frame,
    messages,
    read_frame,
    size_bytes,
)
from appliance.presentation.surface import RESPONSES
from appliance.transport.context import RequestContext
from appliance.transport.served import note

OK = 200
_log = logging.getLogger("appliance.gateway")


class ClientStuck(Exception):
    """The client took nothing until the turn had to end, with `error`: there is no telling it."""

    def __init__(self, error: ApplianceError) -> None:
        super().__init__(str(error))
        self.error = error


class TurnRunner:
    """Of one connection; `run` is called for one frame after the other."""

    def __init__(
        self,
        service: ResponseService,
        memory: Memory,
        send: Callable[[str], Awaitable[None]],
        max_frame_bytes: int,
    ) -> None:
        """`send` raises WebSocketDisconnected when the client has left."""
        self._service = service
        self._memory = memory
        self._send = send
        self._max_frame_bytes = max_frame_bytes
        self._production: Production | None = None  # while there is one
        self._opening: asyncio.Timeout | None = None  # while it has no content
        self._interrupted: ApplianceError | None = None

    async def run(self, text: str, turn: RequestContext) -> None:
        """Answer the frame `text`.  Raises WebSocketDisconnected or ClientStuck, after which the
        connection is of no use, and nothing else."""
        lane = previous = ""
        try:
            frame = read_frame(text)
            lane, previous = frame.lane, frame.previous
            asked = self._decoded(frame, turn)
            answer = self._answer if frame.generate else self._prepare
            await answer(asked, turn, lane)
            turn.status = OK
        except WebSocketDisconnected:
            raise
        except ClientStuck as exc:
            turn.status = view(exc.error).status
            raise
        except Exception as exc:  # noqa: BLE001 - a turn that fails is not the end of the others
            if not isinstance(exc, ApplianceError):
                _log.exception("unexpected_error", extra=_ids(turn))
            shown = view(exc)
            turn.status = shown.status
            self._memory.forget(previous)
            await self._send(error_frame(shown, lane))

    def interrupt(self, error: ApplianceError) -> None:
        """End the turn now, with `error` in its last frame or as its only one."""
        self._interrupted = error
        if self._opening is not None:
            with suppress(RuntimeError):  # it is open
                self._opening.reschedule(0)
        elif self._production is not None:
            self._production.interrupt(error)

    def _decoded(self, frame: Frame, turn: RequestContext) -> WireResponseRequest:
        body = frame.body()
        if len(body) > self._max_frame_bytes:
            raise too_large(self._max_frame_bytes)
        asked = openai_responses.decode(body, turn.headers)
        # Sealed reasoning has no place but the memory: who continues it there gets it back.
        return asked if asked.store else replace(asked, encrypted=True)

    async def _answer(self, asked: WireResponseRequest, turn: RequestContext, lane: str) -> None:
        known = self._memory.recall(asked.previous_response_id)
        production = await self._service.begin(
            asked,
            Caller(turn.identity, RESPONSES.name, turn.key),
            earlier=known.items if known else None,
            conversation_id=known.conversation_id if known else "",
        )
        self._production = production
        try:
            await self._open(production)
            await self._send_all(production, lane)
        finally:
            self._production = None
            await production.close()
            note(turn, production.turn)
        if production.status == "failed":
            self._memory.forget(asked.previous_response_id)
        elif known is not None or not production.stored:
            self._remember(
                production.id,
                Continued(production.earlier, production.conversation_id),
                production.items(),
                known,
            )

    async def _send_all(self, production: Production, lane: str) -> None:
        try:
            async with aclosing(production.frames()) as frames:
                async for chunk in frames:
                    for message in messages(chunk, lane):
                        await self._send(message)
        except asyncio.CancelledError:
            if production.stuck is None:
                raise
            raise ClientStuck(production.stuck) from None

    async def _open(self, production: Production) -> None:
        if self._interrupted is not None:
            raise self._interrupted
        try:
            async with asyncio.timeout(None) as self._opening:
                await production.open()
        except TimeoutError:
            assert self._interrupted is not None
            raise self._interrupted from None
        finally:
            self._opening = None

    async def _prepare(self, asked: WireResponseRequest, turn: RequestContext, lane: str) -> None:
        """Nothing is generated: a response without output, which a later turn continues.  No
        backend is asked, and nothing is stored."""
        known = self._memory.recall(asked.previous_response_id)
        before = await self._before(asked, turn, known)
        chat = asked.continued(before.items)
        response_id = id_of(turn.identity.trace_id)
        encoder = openai_responses.encoder(asked, chat, response_id, int(time.time()))
        encoder.store = False
        turn.fields.update(request_model=asked.model, outcome="prepared")
        for message in messages(encoder.opening() + encoder.terminal(), lane):
            await self._send(message)
        self._remember(response_id, before, asked.items, known)

    async def _before(
        self, asked: WireResponseRequest, turn: RequestContext, known: Remembered | None
    ) -> Continued:
        if known is not None:
            return Continued(known.items, known.conversation_id)
        if asked.previous_response_id:
            caller = Caller(turn.identity, RESPONSES.name, turn.key)
            return await self._service.continued(asked.previous_response_id, caller)
        return Continued((), turn.identity.correlation_id)

    def _remember(
        self,
        response_id: str,
        before: Continued,
        added: Sequence[Item],
        known: Remembered | None,
    ) -> None:
        earlier_bytes = known.size_bytes if known else size_bytes(before.items)
        remembered = Remembered(
            (*before.items, *added), before.conversation_id, earlier_bytes + size_bytes(added)
        )
        self._memory.remember(response_id, remembered)


def too_large(limit_bytes: int) -> RequestTooLarge:
    """The error of a frame above the limit."""
    return RequestTooLarge(f"The frame is larger than the limit of {limit_bytes} bytes.")


def _ids(turn: RequestContext) -> dict[str, str]:
    identity = turn.identity
    return {"correlation_id": identity.correlation_id, "trace_id": identity.trace_id}
