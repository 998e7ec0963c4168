"""One response being made: what becomes of a POST of /v1/responses, and of a turn of its WebSocket.

The chat service answers, a scribe writes frames of it, and those that are to be kept are also held
in memory, handed to other gateways and become a row.  The row is whole before the last frame
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
from appliance.domain.responses.live import LiveResponse, owner
from appliance.domain.responses.means import Means
from appliance.domain.responses.ports import Scribe
from appliance.domain.responses.record import Item, NewResponse, ResponseRequest, Status
from appliance.domain.responses.writing import Cancelled, SummaryWriting, Writing

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
        means: Means,
        asked: ResponseRequest,
        turn: Turn,
        scribe: Scribe,
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
        self.stored = asked.store and not means.limits.unstored
        self.unstored = means.limits.unstored if asked.store else ""
        self._means = means
        self._asked = asked
        self._scribe = scribe
        self._writing = (
            SummaryWriting(scribe, turn, seal=means.seal)
            if asked.compacts
            else Writing(scribe, turn)
        )
        self._stream: BoundedStream | None = None  # from `open` on
        self._input = means.wire.encoded(asked.items) if self.stored else b""
        if len(self._input) > means.limits.max_bytes:
            self.stored, self.unstored = False, TOO_LARGE
        scribe.store = self.stored
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
            self._means.lives.add(self._live)
            self._creating = self._means.tasks.spawn(self._create(self._live))
        try:
            await stream.open(self._means.limits.hold_s)
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
        answer = await self._means.chat.once(self.turn)
        self._ended = True
        writing = self._writing
        written = [writing.opening()]
        written += [writing.step(delta) for delta in self._means.wire.deltas_of(answer)]
        written += [writing.closing(None), writing.terminal(None)]
        if self.stored:
            await self._keep(b"".join(written))
        return self._scribe.resource()

    async def _keep(self, events: bytes) -> None:
        if len(events) + len(self._input) > self._means.limits.max_bytes:
            self._unkept(TOO_LARGE)
        elif not await self._means.rows.keep(self._new(), events):
            self._unkept(DEGRADED)

    @property
    def status(self) -> Status:
        """As the resource says it."""
        return self._scribe.status

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
            self._settling(self._live, self.stuck or Cancelled("its client left"))

    @property
    def stuck(self) -> ApplianceError | None:
        """See BoundedStream."""
        return self._stream.stuck if self._stream is not None else None

    def items(self) -> list[Item]:
        """What it adds to a conversation: its input and, once it is whole, its output."""
        said = self._means.wire.output_items(self._scribe.resource())
        return [*self._asked.items, *said]

    @property
    def input_items(self) -> Sequence[Item]:
        """See Producer."""
        return self._asked.items

    def resource(self) -> bytes:
        """See Producer."""
        return self._shown or self._scribe.resource()

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
            self._means.chat, self.turn, write=self._write, end=self._finish, failed=self._finish
        )

    async def _create(self, live: LiveResponse) -> None:
        live.leased = await self._means.rows.create(self._new())
        if not live.leased:
            self._unkept(DEGRADED)
            self._let_go(discard=False)  # Rows has seen to that
        elif live.lost:  # it was forgotten meanwhile
            self._means.rows.discard(self.id)

    def _new_live(self) -> LiveResponse:
        means, limits = self._means, self._means.limits
        return LiveResponse(
            self.id,
            self,
            self.turn.caller,
            background=self._asked.background,
            events=means.events,
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
            status=self._scribe.status,
            model=asked.model,
            resource=self._scribe.resource(),
            input_items=self._input,
            background=asked.background,
            previous_response_id=asked.previous_response_id,
        )

    def _write(self, delta: Delta) -> bytes:
        frames = self._writing.step(delta)
        live = self._live
        if live is not None and frames and not live.add(frames, self._scribe.count):
            self._overflow()
        return frames

    def _overflow(self) -> None:
        """There is more of it than is kept."""
        self.forget(TOO_LARGE)

    async def _finish(self, error: Exception | None = None) -> bytes:
        """The last frames, once the row is whole or is known not to become so."""
        if error is not None and not isinstance(error, Cancelled):
            self._means.report("stream_failed", error, self.turn.caller.identity)
        if self._live is None:
            self._ended = True
            return self._writing.closing(error) + self._writing.terminal(error)
        # A task of the service's: what was said whole is stored whole, should the client leave now.
        return await asyncio.shield(self._settling(self._live, error))

    def _settling(self, live: LiveResponse, error: Exception | None) -> "asyncio.Task[bytes]":
        self._ended = True
        return self._means.tasks.spawn(self._settle(live, error))

    async def _settle(self, live: LiveResponse, error: Exception | None) -> bytes:
        try:
            return await self._last_frames(live, error)
        except Exception:
            self.forget()
            raise
        finally:
            self._means.lives.remove(live)

    async def _last_frames(self, live: LiveResponse, error: Exception | None) -> bytes:
        writing, scribe = self._writing, self._scribe
        closing = writing.closing(error)
        self._shown = scribe.resource()  # nobody is told how it ended before its row says so
        last = closing + writing.terminal(error)
        if self._creating is not None:
            await self._creating
        if not live.lost:
            events = live.events + last
            kept = await self._means.rows.finish(
                self.id,
                scribe.status,
                scribe.resource(),
                events,
                patient=self._patient,
            )
            if not kept:
                self._unkept("")
        if not self.stored:
            last = closing + writing.terminal(error)
        self._shown = b""
        live.end(last, scribe.count)
        return last

    def _unkept(self, why: str) -> None:
        """There will be no row: the resource says so from here on."""
        self.stored = False
        self.unstored = self.unstored or why
        self._scribe.store = False

    def _let_go(self, *, discard: bool = True) -> None:
        """Nothing of it is kept any more; who reads it elsewhere ends."""
        live, self._live = self._live, None
        if live is not None:
            self._means.lives.remove(live)
            if discard:
                self._means.rows.discard(live.id)
            live.lose()
