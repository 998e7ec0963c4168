"""Ships the spool: each record becomes its events (domain/events/topics.py), each event a JetStream
message.

One task owns everything.  A record is freed when every one of its messages is acked; until then the
messages are in the window and are sent again, under the same `Nats-Msg-Id`, after an outage, a
refusal or silence. Nothing here is ever awaited by a request: a stopped or frozen server stops this
task and nothing else.
"""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.domain.events.topics import events_of
from appliance.infra.nats.connection import connect
from appliance.infra.nats.streams import ensure_streams
from appliance.infra.nats.window import Flight, PubAck, Window
from appliance.infra.spool.journal import Ticket
from appliance.infra.spool.spool import Spool

LINGER_S = 0.01  # records of this long leave together: one wake-up, one write, one burst of acks
SLICE = 8  # records encoded before the loop gets a turn
BURST = 128  # records of one wake-up, so that a backlog leaves the loop to the requests
DRAIN_S = 1.0
RETRY_FIRST_S = 0.25
RETRY_MOST_S = 10.0
HEADER_BYTES = 512  # of a message, beside its payload, at most
_encode = msgspec.json.Encoder().encode
_ack = msgspec.json.Decoder(PubAck)
log = logging.getLogger("appliance.shipper")


class Shipper:
    """An async context manager around the task; with no `[nats] url` there is none, and records
    wait.

    `last_error`: why records wait, or "".
    """

    def __init__(self, spool: Spool, config: NatsConfig, host: str) -> None:
        self.last_error = ""
        self._client: Client | None = None
        self._spool = spool
        self._config = config
        self._host = host
        self._window = Window()
        self._task: asyncio.Task[None] | None = None
        self._inbox = ""
        self._streams_missing = False

    @property
    def connected(self) -> bool:
        """The server is there, with its streams."""
        return self._client is not None and self._client.is_connected

    async def __aenter__(self) -> Self:
        if self._config.url:
            self._task = asyncio.create_task(self._run(), name="shipper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        for _ in range(int(DRAIN_S / LINGER_S)):
            if not self.connected or not self._spool.stats().depth_records:
                break
            await asyncio.sleep(LINGER_S)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        delay = RETRY_FIRST_S
        self.last_error = "no connection to NATS yet"
        while True:
            started = asyncio.get_running_loop().time()
            try:
                async with connect(
                    self._config, name=f"{self._host}-spool", reconnected=self._resend
                ) as client:
                    await self._serve(client)
            except (nats.errors.Error, OSError, TimeoutError, ConfigError) as exc:
                self._say(str(exc) or type(exc).__name__)
            except Exception as exc:
                self._say(f"{type(exc).__name__}: {exc}")
                log.exception("shipper_failed")
            self._client = None
            if asyncio.get_running_loop().time() - started > RETRY_MOST_S:
                delay = RETRY_FIRST_S
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MOST_S)

    async def _serve(self, client: Client) -> None:
        """Ship until the connection is given up; raises what went wrong."""
        self._inbox = f"{client.new_inbox()}."
        await client.subscribe(f"{self._inbox}*", cb=self._on_ack)
        await self._ensure_streams(client)
        self._window.resend_all()
        while not client.is_closed:
            if not client.is_connected:
                await asyncio.sleep(RETRY_FIRST_S)
                continue
            if self._streams_missing:
                await self._ensure_streams(client)
            await self._send_due(client)
            await self._send_new(client)
            await self._pause()

    async def _ensure_streams(self, client: Client) -> None:
        """Raises after a bounded time when the server does not answer; the caller connects
        afresh."""
        await ensure_streams(client.jetstream(timeout=5), self._config.replicas)
        self._streams_missing = False
        self._client = client
        self._say("")

    async def _pause(self) -> None:
        """Wait for records to gather, or, with nothing under way, for the next one."""
        if not self._window.flights:
            await self._spool.wake.wait()
        await asyncio.sleep(LINGER_S)

    async def _send_new(self, client: Client) -> None:
        self._spool.wake.clear()
        for _ in range(BURST // SLICE):
            tickets = await self._spool.take(min(self._window.room(), SLICE))
            for ticket in tickets:
                await self._send_record(client, ticket)
            if not tickets:
                return
            await asyncio.sleep(0)
        self._spool.wake.set()

    async def _send_record(self, client: Client, ticket: Ticket) -> None:
        try:
            flights = _flights(ticket)
        except (msgspec.DecodeError, TypeError, ValueError) as exc:
            await self._spool.poison(ticket, f"not an exchange: {exc}")
            return
        if any(len(f.payload) + HEADER_BYTES > client.max_payload for f in flights):
            limit = f"max_payload of the NATS server is {client.max_payload} bytes"
            await self._spool.poison(ticket, f"larger than one message may be: {limit}")
            return
        if not ticket.waiting:
            self._spool.acked(ticket)
        for flight in flights:
            if flight.awaited:
                self._window.add(flight)
                await self._send(client, flight)
            else:
                await client.publish(flight.subject, flight.payload, headers=flight.headers)

    async def _send_due(self, client: Client) -> None:
        """Send again what was refused, or not acked for too long."""
        for flight in self._window.due(asyncio.get_running_loop().time()):
            await self._send(client, flight)

    async def _send(self, client: Client, flight: Flight) -> None:
        self._window.sent(flight, asyncio.get_running_loop().time())
        await client.publish(
            flight.subject,
            flight.payload,
            reply=f"{self._inbox}{flight.number}",
            headers=flight.headers,
        )

    async def _resend(self) -> None:
        self._window.resend_all()

    async def _on_ack(self, message: Msg) -> None:
        flight = self._window.find(message.subject.rpartition(".")[2])
        if flight is None:
            return
        if not message.data:  # "no responders": no stream takes this subject
            self._streams_missing = True
            self._refused(flight, "no stream takes it")
            return
        ack = _ack.decode(message.data)
        if ack.error is not None:
            await self._on_error(flight, ack)
            return
        self._window.remove(flight)
        ticket = flight.ticket
        ticket.waiting -= 1
        ticket.duplicates += ack.duplicate
        if not ticket.waiting and not ticket.done:
            self._spool.acked(ticket, duplicates=ticket.duplicates)
        if self.last_error and not self._streams_missing:
            self._say("")

    async def _on_error(self, flight: Flight, ack: PubAck) -> None:
        assert ack.error is not None
        if ack.error.for_ever:
            self._window.remove_all(flight.ticket)
            await self._spool.poison(
                flight.ticket, f"refused by the stream: {ack.error.description}"
            )
            return
        self._refused(flight, ack.error.description)

    def _refused(self, flight: Flight, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        self._window.refused(
            flight, now + min(RETRY_FIRST_S * 2 ** min(flight.tries, 6), RETRY_MOST_S)
        )
        self._say(f"{flight.subject}: {reason}")

    def _say(self, error: str) -> None:
        if error != self.last_error:
            event = "shipper_waits" if error else "shipper_goes_on"
            log.log(logging.WARNING if error else logging.INFO, event, extra={"error": error})
        self.last_error = error


def _flights(ticket: Ticket) -> list[Flight]:
    """Raises msgspec.DecodeError when the record is not an exchange."""
    flights = [
        Flight(ticket, event.subject, event.event_id, _encode(event.body))
        for event in events_of(ticket.exchange())
    ]
    ticket.waiting = sum(flight.awaited for flight in flights)
    return flights
