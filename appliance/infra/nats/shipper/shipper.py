"""Ships the spool: each record becomes its events (domain/events/topics.py), each event a JetStream
message.

Its tasks look after the connection, the streams and what is too large for a message; `sender`
decides what is sent when.  Nothing here is ever awaited by a request: a stopped or frozen server
stops these tasks and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.domain.tasks import ended
from appliance.infra.nats.publisher.link import Link, LinkError
from appliance.infra.nats.publisher.publisher import Publisher
from appliance.infra.nats.shipper.administration import FAILURES, Administration
from appliance.infra.nats.shipper.sender import BURST, Sender
from appliance.infra.spool.journal import RecordGone
from appliance.infra.spool.spool import Spool

LINGER_S: Final = 0.01  # records of this long leave together: one wake-up, one write
BACKLOG: Final = 128  # records of one wake-up, so that a backlog leaves the loop to the requests
TICK_S: Final = 0.1  # with messages under way: is one due again?
DRAIN_S: Final = 1.0
RETRY_FIRST_S: Final = 0.25
RETRY_CONNECT_S: Final = 2.0
RETRY_MOST_S: Final = 10.0
LOOK_AGAIN_S: Final = 30.0  # at a stream of measures that cannot be had
log = logging.getLogger("appliance.shipper")


class Shipper:
    """An async context manager around the tasks; with no `[nats] url` there are none, and records
    wait.

    `last_error`: why records wait, or "".
    """

    def __init__(self, spool: Spool, config: NatsConfig, host: str) -> None:
        self.last_error = ""
        self._spool = spool
        self._config = config
        self._name = f"{host}-spool"
        self._administration = Administration(config, f"{self._name}-administration")
        self._publisher = Publisher(config, self._name, self)
        self._sender: Sender | None = None
        self._streams_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """The server is there, with its streams."""
        sender = self._sender
        return sender is not None and sender.link is not None and sender.link.alive and sender.open

    async def __aenter__(self) -> Self:
        if self._config.url:
            self.last_error = "no connection to NATS yet"
            inbox = self._publisher.inbox
            self._sender = Sender(self._spool, inbox, self._administration.payloads, self)
            self._tasks = [
                asyncio.create_task(self._for_ever(work, self._sender))
                for work in (self._keep_connected, self._keep_streams, _oversize)
            ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for _ in range(int(DRAIN_S / LINGER_S)):
            if not self.connected or not self._spool.stats().depth_records:
                break
            await asyncio.sleep(LINGER_S)
        await ended(*self._tasks)

    # -- sender.Overseer

    def say(self, error: str) -> None:
        """Note why records wait, and log when that changes."""
        if error != self.last_error:
            event = "shipper_waits" if error else "shipper_goes_on"
            log.log(logging.WARNING if error else logging.INFO, event, extra={"error": error})
        self.last_error = error

    def streams_missing(self, *, needed: bool) -> None:
        """Have them made; when they are `needed`, nothing leaves before."""
        if needed and self._sender is not None:
            self._sender.open = False
        self._streams_wanted.set()

    # -- link.Listener

    def on_answer(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        """See link.Listener."""
        if self._sender is not None:
            self._sender.on_answer(subject, headers, payload)

    def on_read(self) -> None:
        """See link.Listener."""
        if self._sender is not None:
            self._sender.on_read()

    def on_writable(self) -> None:
        """See link.Listener."""
        self._spool.wake.set()

    def on_error(self, text: str) -> None:
        """See link.Listener."""
        self.say(f"the NATS server: {text}")

    def on_lost(self, reason: str) -> None:
        """See link.Listener."""
        self.say(reason)
        self._spool.wake.set()

    # -- the tasks

    async def _for_ever(
        self, work: Callable[[Sender], Coroutine[Any, Any, None]], sender: Sender
    ) -> None:
        """What nobody thought of must not end the shipping of a gateway that serves on."""
        while True:
            try:
                await work(sender)
            except Exception as exc:
                self.say(f"{type(exc).__name__}: {exc}")
                log.exception("shipper_failed")
            await asyncio.sleep(RETRY_MOST_S)

    async def _keep_connected(self, sender: Sender) -> None:
        delay = RETRY_FIRST_S
        while True:
            try:
                link = await self._publisher.connect()
            except (LinkError, ConfigError) as exc:
                self.say(str(exc))
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_CONNECT_S)
                continue
            delay = RETRY_FIRST_S
            log.info("nats_connected", extra={"connection": self._name})
            try:
                sender.begin(link)
                self._streams_wanted.set()
                await self._ship(sender, link)
            finally:
                link.abort()
            await asyncio.sleep(RETRY_FIRST_S)

    async def _keep_streams(self, sender: Sender) -> None:
        """Look at them when a connection is new or nobody takes a subject."""
        delay, problem = RETRY_FIRST_S, ""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S if problem else None):
                    await self._streams_wanted.wait()
            self._streams_wanted.clear()
            try:
                before, problem = problem, await self._administration.prepare()
            except FAILURES as exc:
                self.say(str(exc) or type(exc).__name__)
                self._streams_wanted.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MOST_S)
                continue
            if problem and problem != before:
                log.warning("stream_unusable", extra={"error": problem})
            delay = RETRY_FIRST_S
            sender.open = True
            self.say("")
            self._spool.wake.set()
            # Where nobody takes a subject although its stream is there, asking again is no help.
            await asyncio.sleep(RETRY_FIRST_S)

    async def _ship(self, sender: Sender, link: Link) -> None:
        """Until `link` is lost."""
        while link.alive:
            await self._pause(sender)
            self._spool.wake.clear()
            await self._set_aside(sender)
            if sender.open:
                sender.send_due()
                await self._warm_released(sender)
                await self._send_new(sender, link)
                link.flush()

    async def _pause(self, sender: Sender) -> None:
        """Wait for records to gather, or, with nothing under way, for the next one."""
        wake = self._spool.wake
        if sender.idle:
            await wake.wait()
        elif not wake.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await wake.wait()
        if not sender.released:  # those have waited long enough
            await asyncio.sleep(LINGER_S)

    async def _send_new(self, sender: Sender, link: Link) -> None:
        for _ in range(BACKLOG // BURST):
            if not (link.writable and sender.open) or not (room := sender.room()):
                return
            tickets = await self._spool.take(min(room, BURST))
            for ticket in tickets:
                sender.admit(ticket)
            if not tickets:
                return
            await asyncio.sleep(0)
        self._spool.wake.set()

    async def _warm_released(self, sender: Sender) -> None:
        """Those that waited on the disk, and a few behind them."""
        for _ in range(BURST):
            if not sender.released:
                return
            ticket = sender.released[0]
            try:
                await ticket.warm()
            except RecordGone as exc:
                sender.released.popleft()
                sender.reject(ticket, str(exc))
            except OSError as exc:
                self.say(f"the spool cannot be read: {exc.strerror}")
                return
            else:
                sender.send_released()

    async def _set_aside(self, sender: Sender) -> None:
        while sender.rejected:
            ticket, reason = sender.rejected[0]
            try:
                await ticket.warm()
            except OSError as exc:
                self.say(f"the spool cannot be read: {exc.strerror}")
                return
            except RecordGone as exc:
                reason = f"{reason}; {exc}"
            await self._spool.poison(ticket, reason)
            sender.rejected.popleft()
            sender.finish(ticket)
            self.say("")


async def _oversize(sender: Sender) -> None:
    await sender.oversize.run()
