"""One response being made: what becomes of a POST of /v1/responses, and of a turn of its WebSocket.

The chat service answers, an encoder writes frames of it, and those that are to be kept are also
held in memory, handed to other gateways and become a row.  The row is whole before the last frame
leaves, or that frame says that nothing is stored.

    once         `once()`
    streamed     `open()`, `frames()`, and `close()` in any case

A background one is used the same way, and is another kind: see background.py.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from appliance.domain.chat.bounded import BoundedStream
from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import ApplianceError
from appliance.domain.responses.context import ProductionContext
from appliance.domain.responses.live import LiveResponse, owner
from appliance.domain.responses.ports import ResponseEncoder
from appliance.domain.responses.record import Item, NewResponse, ResponseRequest, Status
from appliance.domain.responses.writer import Cancelled, FrameWriter, SummaryWriter

DEGRADED = "degraded:postgres"
TOO_LARGE = "refused:max_bytes"
NO_MEMORY = "degraded:memory"


class Production:
    """A Producer.  `id` is the response's; `turn` what the chat service knows of it; `stored`
    whether there is, or will be, a row of it, `unstored` why there is none although its client
    wanted one: DEGRADED, TOO_LARGE, NO_MEMORY, "refused:privacy" or "off".

    `earlier` are the items it continues; `items()` those it adds.  `conversation_id` is what who
    continues it hands to `begin`.
    """

    _patient = False  # its row is written within the time of an answer, or not at all

    def __init__(
        self,
        context: ProductionContext,
        asked: ResponseRequest,
        turn: Turn,
        encoder: ResponseEncoder,
        *,
        response_id: str,
        earlier: Sequence[Item],
    ) -> None:
        self.id = response_id
        self.turn = turn
        self.earlier = earlier
        self.conversation_id = (
            turn.request.extensions.conversation or turn.caller.identity.correlation_id
        )
        self.stored = asked.store and not context.limits.unstored
        self.unstored = context.limits.unstored if asked.store else ""
        self._context = context
        self._asked = asked
        self._encoder = encoder
        self._writer = (
            SummaryWriter(encoder, turn, seal=context.seal)
            if asked.compacts
            else FrameWriter(encoder, turn)
        )
        self._stream: BoundedStream | None = None  # from `open` on
        self._input = context.wire.encoded(asked.items) if self.stored else b""
        if len(self._input) > context.limits.max_bytes:
            self.stored, self.unstored = False, TOO_LARGE
        encoder.store = self.stored
        self._live: LiveResponse | None = None  # while it is kept
        self._shown = b""  # the resource, while it must not say how it ended
        self._creating: asyncio.Task[None] | None = None
        self._ended = False

    async def open(self) -> None:
        """Return once there is content, or `hold_s` has passed, and it is known whether it will be
        stored.  Raises the error tree."""
        self._stream = stream = self._bounded()
        if self.stored:
            self._live = self._new_live()
            self._context.in_progress.add(self._live)
            self._creating = self._context.tasks.spawn(self._create(self._live))
        try:
            await stream.open(self._context.limits.hold_s)
            if self._creating is not None:
                await asyncio.shield(self._creating)
        except Exception:  # its client gets an error and no response
            self._ended = True
            self._let_go()
            raise

    def frames(self) -> AsyncGenerator[bytes, None]:
        """The stream, after `open`: whole frames, one or several at a time, each with `event:` and
        `data:` and ended by a blank line.  A failure is among them, never raised."""
        assert self._stream is not None, "open() comes first"
        return self._stream.frames()

    async def once(self) -> bytes:
        """The resource: whole, and stored before it is returned.  Raises the error tree."""
        answer = await self._context.chat.once(self.turn)
        self._ended = True
        writer = self._writer
        written = [writer.opening()]
        written += [writer.step(delta) for delta in self._context.wire.deltas_of(answer)]
        written += [writer.closing(None), writer.terminal(None)]
        if self.stored:
            await self._keep(b"".join(written))
        return self._encoder.resource()

    async def _keep(self, events: bytes) -> None:
        if len(events) + len(self._input) > self._context.limits.max_bytes:
            self._unkept(TOO_LARGE)
        elif not await self._context.rows.keep(self._new(), events):
            self._unkept(DEGRADED)

    @property
    def status(self) -> Status:
        """As the resource says it."""
        return self._encoder.status

    def interrupt(self, error: ApplianceError) -> None:
        """End the stream now, with `error` in its last frame."""
        if self._stream is not None:
            self._stream.interrupt(error)

    async def close(self) -> None:
        """Its client does not read on.  What is still produced is aborted upstream at once, and
        becomes a cancelled row, or a failed one where it is `stuck`.  Without effect once all is
        over."""
        if self._stream is None:
            return
        await self._stream.close()
        if self._live is not None and not self._ended:
            self._conclude(self._live, self.stuck or Cancelled("its client left"))

    @property
    def stuck(self) -> ApplianceError | None:
        """See BoundedStream."""
        return self._stream.stuck if self._stream is not None else None

    def items(self) -> list[Item]:
        """What it adds to a conversation: its input and, once it is whole, its output."""
        said = self._context.wire.output_items(self._encoder.resource())
        return [*self._asked.items, *said]

    @property
    def input_items(self) -> Sequence[Item]:
        """See Producer."""
        return self._asked.items

    def resource(self) -> bytes:
        """See Producer."""
        return self._shown or self._encoder.resource()

    def stop(self, error: ApplianceError) -> None:
        """See Producer.  Its row is whole, or gone without us; what ends already, ends."""
        if not self._ended:
            self._unkept("")
            self._let_go(discard=False)

    def forget(self, why: str = "") -> None:
        """See Producer."""
        self._unkept(why)
        self._let_go()

    def _bounded(self) -> BoundedStream:
        return BoundedStream(
            self._context.chat, self.turn, write=self._write, end=self._finish, failed=self._finish
        )

    async def _create(self, live: LiveResponse) -> None:
        live.leased = await self._context.rows.create(self._new())
        if not live.leased:
            self._unkept(DEGRADED)
            self._let_go(discard=False)  # Rows has seen to that
        elif live.lost:  # it was forgotten meanwhile
            self._context.rows.discard(self.id)

    def _new_live(self) -> LiveResponse:
        context, limits = self._context, self._context.limits
        return LiveResponse(
            self.id,
            self,
            self.turn.caller,
            background=self._asked.background,
            events=context.events,
            publish_every_s=limits.publish_every_s,
            room_bytes=limits.max_bytes - len(self._input),
        )

    def _new(self) -> NewResponse:
        """Its row as it stands now."""
        asked, turn, ids = self._asked, self.turn, self.turn.caller.identity
        return NewResponse(
            id=self.id,
            trace_id=ids.trace_id,
            correlation_id=ids.correlation_id,
            conversation_id=self.conversation_id,
            key_name=owner(turn.caller),
            created_at=turn.wall,
            status=self._encoder.status,
            model=asked.model,
            resource=self._encoder.resource(),
            input_items=self._input,
            background=asked.background,
            previous_response_id=asked.previous_response_id,
        )

    def _write(self, delta: Delta) -> bytes:
        frames = self._writer.step(delta)
        live = self._live
        if live is not None and frames and not live.add(frames, self._encoder.count):
            self._overflow()
        return frames

    def _overflow(self) -> None:
        """There is more of it than is kept."""
        self.forget(TOO_LARGE)

    async def _finish(self, error: Exception | None = None) -> bytes:
        """The last frames, once the row is whole or is known not to become so."""
        if error is not None and not isinstance(error, Cancelled):
            self._context.report("stream_failed", error, self.turn.caller.identity)
        if self._live is None:
            self._ended = True
            return self._writer.closing(error) + self._writer.terminal(error)
        # A task of the service's: what was said whole is stored whole, should the client leave now.
        return await asyncio.shield(self._conclude(self._live, error))

    def _conclude(self, live: LiveResponse, error: Exception | None) -> "asyncio.Task[bytes]":
        self._ended = True
        return self._context.tasks.spawn(self._store_and_end(live, error))

    async def _store_and_end(self, live: LiveResponse, error: Exception | None) -> bytes:
        try:
            return await self._last_frames(live, error)
        except Exception:
            self.forget()
            raise
        finally:
            self._context.in_progress.remove(live)

    async def _last_frames(self, live: LiveResponse, error: Exception | None) -> bytes:
        writer, encoder = self._writer, self._encoder
        closing = writer.closing(error)
        self._shown = encoder.resource()  # nobody is told how it ended before its row says so
        last = closing + writer.terminal(error)
        if self._creating is not None:
            await self._creating
        if not live.lost:
            events = live.events + last
            kept = await self._context.rows.finish(
                self.id,
                encoder.status,
                encoder.resource(),
                events,
                patient=self._patient,
            )
            if not kept:
                self._unkept("")
        if not self.stored:
            last = closing + writer.terminal(error)
        self._shown = b""
        live.end(last, encoder.count)
        return last

    def _unkept(self, why: str) -> None:
        """There will be no row: the resource says so from here on."""
        self.stored = False
        self.unstored = self.unstored or why
        self._encoder.store = False

    def _let_go(self, *, discard: bool = True) -> None:
        """Nothing of it is kept any more; who reads it elsewhere ends."""
        live, self._live = self._live, None
        if live is not None:
            self._context.in_progress.remove(live)
            if discard:
                self._context.rows.discard(live.id)
            live.lose()
