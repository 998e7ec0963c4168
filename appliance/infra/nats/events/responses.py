"""The events of responses between gateways: pieces of streams through EVT, cancels through core.

Implements domain.responses.ports.ResponseEvents, over one connection of its own.  What a request
calls only puts something into memory; one task here publishes it.  A server that is away or frozen
stops this task and nothing else.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Final, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.domain.responses.ports import Piece
from appliance.domain.tasks import ended
from appliance.infra.nats.connection import connect
from appliance.infra.nats.events.ends import UnackedEnds
from appliance.infra.nats.events.follow import PATIENCE_S, follow, kept
from appliance.infra.nats.events.outbox import Outbox
from appliance.infra.nats.events.pieces import (
    CANCELS,
    cancel_subject_of,
    fitting,
    headers_of,
    is_trace_id,
    subject_of,
)
from appliance.infra.nats.streams import ensure_streams

MOST_BYTES: Final = 16 * 1024 * 1024  # of pieces that wait while NATS is away
WINDOW_BYTES: Final = 4 * 1024 * 1024  # handed to the client, not yet to the socket
HEADER_BYTES: Final = 512  # of a message's limit: headers count, and subjects are short
BURST: Final = 64  # messages, then the requests have their turn
TICK_S: Final = 0.5
LINGER_S: Final = 0.01  # pieces of this long leave together: one wake-up, one write
FULL_S: Final = 0.02
RETRY_S: Final = 2.0
ENSURE_S: Final = 3.0  # nothing is published meanwhile
ENSURE_FIRST_S: Final = 0.5  # after a failure; twice as long after each further one
ENSURE_MOST_S: Final = 30.0
DRAIN_S: Final = 1.0
log = logging.getLogger("appliance.nats")


class NatsResponseEvents:
    """An async context manager around the connection; with no `[nats] url` there is none.

    `patience_s`: for how long whoever follows waits for a server that is away meanwhile."""

    def __init__(self, config: NatsConfig, host: str, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._config = config
        self._name = f"{host}-responses"
        self._outbox = Outbox(MOST_BYTES)
        self._ends = UnackedEnds(time.monotonic)
        self._wake = asyncio.Event()
        self._told: list[Callable[[str], None]] = []
        self._client: Client | None = None
        self._inbox = ""
        self._ensure_at = 0.0
        self._ensure_again_s = ENSURE_FIRST_S
        self._said = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """The server is there."""
        return self._client is not None and self._client.is_connected

    async def __aenter__(self) -> Self:
        if self._config.url:
            self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for _ in range(int(DRAIN_S / FULL_S)):
            if not self.connected or not (self._outbox or self._ends):
                break
            await asyncio.sleep(FULL_S)
        if self._task is not None:
            await ended(self._task)

    # -- ResponseEvents

    def publish(self, trace_id: str, piece: Piece) -> None:
        """See ResponseEvents.  `piece.frames` are whole frames, each with the empty line at its
        end."""
        if self._config.url and is_trace_id(trace_id):
            self._outbox.put(trace_id, piece)
            self._wake.set()

    def follow(self, trace_id: str) -> AsyncGenerator[Piece, None]:
        """See ResponseEvents.  Of one that nobody published nothing comes, for ever: whoever
        follows has an eye on its row.  A server that is away meanwhile is waited for, a little."""
        return follow(lambda: self._client, trace_id, patience_s=self._patience_s)

    async def kept(self, trace_id: str) -> Sequence[Piece]:
        """See ResponseEvents.  Nothing where no server is configured."""
        return await kept(lambda: self._client, trace_id) if self._config.url else ()

    def cancel(self, trace_id: str) -> None:
        """See ResponseEvents."""
        if self._config.url and is_trace_id(trace_id):
            self._outbox.cancels.append(trace_id)
            self._wake.set()

    def on_cancel(self, told: Callable[[str], None]) -> None:
        """See ResponseEvents; this gateway's own cancels are told, too."""
        self._told.append(told)

    # -- the task

    async def _run(self) -> None:
        while True:
            try:
                name = self._name
                async with connect(self._config, name=name, reconnected=self._back) as client:
                    await self._serve(client)
            except (nats.errors.Error, OSError, TimeoutError, ConfigError) as exc:
                log.warning("response_events_wait", extra={"error": str(exc)})
            except Exception:  # what nobody thought of must not end them for a gateway's lifetime
                log.exception("response_events_failed")
            self._client = None
            await asyncio.sleep(RETRY_S)

    async def _back(self) -> None:
        """A server that is back may have lost its streams."""
        self._ends.unserved, self._ensure_at = True, 0.0
        self._ensure_again_s = ENSURE_FIRST_S
        self._wake.set()

    async def _serve(self, client: Client) -> None:
        """Until `client` is closed."""
        self._inbox = client.new_inbox()
        await client.subscribe(CANCELS, cb=self._on_cancel)
        await client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        self._client = client
        await self._back()
        while not client.is_closed:
            if client.is_connected:
                await self._ensure(client)
                await self._send_ends(client)
                await self._send_waiting(client)
                self._say_losses()
            await self._pause()

    async def _pause(self) -> None:
        """Until there is something to publish, or TICK_S is over."""
        if self._outbox and self.connected:  # the socket is full: the server is slow, or frozen
            await asyncio.sleep(FULL_S)
            return
        self._wake.clear()
        timer = asyncio.get_running_loop().call_later(TICK_S, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        if self._outbox:
            await asyncio.sleep(LINGER_S)

    async def _ensure(self, client: Client) -> None:
        """Nobody takes a subject, or nobody looked yet: have the stream made.  The shipper does
        the same for all of them, and says what is wrong."""
        if not self._ends.unserved or time.monotonic() < self._ensure_at:
            return
        self._ends.unserved = False
        try:
            async with asyncio.timeout(ENSURE_S):
                await ensure_streams(client.jetstream(), self._config.replicas)
            self._ensure_again_s = ENSURE_FIRST_S
        except (nats.errors.Error, OSError, TimeoutError, ConfigError) as exc:
            self._ends.unserved = True
            self._ensure_again_s = min(2 * self._ensure_again_s, ENSURE_MOST_S)
            log.info("response_events_stream", extra={"error": str(exc) or type(exc).__name__})
        self._ensure_at = time.monotonic() + self._ensure_again_s

    async def _send_ends(self, client: Client) -> None:
        for token, end in self._ends.due():
            await self._send(client, end.trace_id, end.piece, token)

    async def _send_waiting(self, client: Client) -> None:
        """As much as the socket takes."""
        sent = 0
        while self._outbox and client.is_connected and client.pending_data_size < WINDOW_BYTES:
            if self._outbox.cancels:
                await client.publish(cancel_subject_of(self._outbox.cancels.popleft()))
            elif (taken := self._outbox.take()) is not None:
                trace_id, piece = taken
                for part in fitting(piece, client.max_payload - HEADER_BYTES):
                    token = self._ends.sent(trace_id, part) if part.last else ""
                    await self._send(client, trace_id, part, token)
            sent += 1
            if sent % BURST == 0:
                await asyncio.sleep(0)

    async def _send(self, client: Client, trace_id: str, piece: Piece, token: str) -> None:
        headers, reply = headers_of(piece), ""
        if token:  # the same id when it is sent again: the stream has it once
            headers["Nats-Msg-Id"] = f"{trace_id}-last"
            reply = f"{self._inbox}.{token}"
        await client.publish(subject_of(trace_id), piece.frames, reply, headers)

    def _say_losses(self) -> None:
        lost = self._outbox.dropped + self._ends.lost
        if lost != self._said:
            log.warning("response_events_lost", extra={"pieces": lost - self._said})
        self._said = lost

    async def _on_answer(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        status = (message.headers or {}).get("Status", "")
        self._ends.answered(token, status, message.data)

    async def _on_cancel(self, message: Msg) -> None:
        trace_id = message.subject.partition(".")[2]
        for told in self._told:
            try:
                told(trace_id)
            except Exception:  # one that fails must not keep the others from being told
                log.exception("cancel_failed", extra={"trace_id": trace_id})
