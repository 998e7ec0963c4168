"""Records become messages on a link, and acks free them.  Driven by `shipper.Shipper`; never waits.

A record is freed when every one of its `pipeline.*` messages is acked.  Until then they are in the
window and are sent again, under the same `Nats-Msg-Id`, after an outage, a refusal or silence.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

import msgspec

from appliance.domain.events.durables import PIPELINE
from appliance.domain.events.exchange import Exchange
from appliance.infra.nats.publisher.link import Link
from appliance.infra.nats.publisher.wire import publish_head
from appliance.infra.nats.shipper.messages import Message, messages_of
from appliance.infra.nats.shipper.order import Order
from appliance.infra.nats.shipper.oversize import Open, Oversize
from appliance.infra.nats.shipper.window import Flight, PubAck, PubError, Window
from appliance.infra.spool.journal import Ticket
from appliance.infra.spool.spool import Spool

HELD_RECORDS: Final = 8192  # that wait for anything but an ack: half a kilobyte of memory each
# nats-server's file store refuses a record of more than 32 MiB, its frame included ("message too
# large", 2.15), whatever the server's max_payload lets in.
STORED_BYTES: Final = 32 * 1024 * 1024 - 4096
BURST: Final = 8  # records encoded before the loop gets a turn
MEASURE_ASKED_S: Final = 10.0  # so often one measure asks for an ack: is there a stream for them?
UNANSWERED: Final = 2  # times in a row: ten seconds
# What a full disk does to nats-server (2.15): from the first failed write on the stream answers
# nobody, also once there is room again.
SILENT: Final = (
    "NATS takes messages and acknowledges none; if its disk was full it has to be restarted"
)
NOBODY: Final = b"NATS/1.0 503"  # "no responders": no stream takes this subject
MEASURE: Final = 0  # its number; those of the window begin with 1
_ack = msgspec.json.Decoder(PubAck).decode
log = logging.getLogger("appliance.shipper")


class Overseer(Protocol):
    """Who looks after the connection and the streams."""

    def say(self, error: str) -> None:
        """Why records wait; "": they do not."""

    def streams_missing(self, *, needed: bool) -> None:
        """Nobody takes a subject; `needed`: it is one of PIPELINE's."""


class Sender:
    """`link` is the one to send on, `open` whether the streams are there for it.

    `released`: records that may go now that an earlier one of their conversation is through.
    `rejected`: records that can never be shipped, with the reason.
    """

    def __init__(self, spool: Spool, inbox: str, store: Open, overseer: Overseer) -> None:
        self.link: Link | None = None
        self.open = False
        self.released: deque[Ticket] = deque()
        self.rejected: deque[tuple[Ticket, str]] = deque()
        self.oversize = Oversize(store, ready=self._stored, given_up=self.reject, say=overseer.say)
        self._spool = spool
        self._inbox = inbox
        self._overseer = overseer
        self._window = Window()
        self._order = Order()
        self._starved = False
        self._ask_at = 0.0
        self._now = asyncio.get_running_loop().time

    # -- what the shipper calls

    @property
    def idle(self) -> bool:
        """Nothing is under way, and nothing is due."""
        return not (self._window.flights or self.released or self.rejected)

    def room(self) -> int:
        """How many records may be taken."""
        waiting = self._order.held + len(self.oversize) + len(self.released) + len(self.rejected)
        room = 0 if self._order.full else min(self._window.room(), HELD_RECORDS - waiting)
        self._starved = room <= 0
        return max(0, room)

    def begin(self, link: Link) -> None:
        """Send on `link` from when it is `open`; what was under way may be lost with the last."""
        self.link, self.open = link, False
        self._window.resend_all()

    def admit(self, ticket: Ticket) -> None:
        """Send `ticket`, at once or after its conversation's earlier ones."""
        exchange = self._read(ticket)
        if exchange is None:
            return
        ticket.conversation = exchange.conversation_id
        if self._order.enter(ticket):
            self._launch(ticket, exchange)

    def send_released(self) -> None:
        """Send a few whose turn has come, up to one whose bytes are on the disk."""
        for _ in range(BURST):
            if not self.released or not self._may_send():
                return
            if self.released[0].cold:
                break
            ticket = self.released.popleft()
            exchange = self._read(ticket)
            if exchange is not None:
                self._launch(ticket, exchange)
        if self.released:
            self._spool.wake.set()

    def send_due(self) -> None:
        """Send again what was refused, or not acked for too long."""
        if self._may_send():
            for flight in self._window.due(self._now()):
                if flight.unanswered >= UNANSWERED:
                    self._overseer.say(SILENT)
                if flight.number in self._window.flights:
                    self._send(flight)

    def reject(self, ticket: Ticket, reason: str) -> None:
        """`ticket` can never be shipped."""
        self.rejected.append((ticket, reason))
        self._spool.wake.set()

    def finish(self, ticket: Ticket) -> None:
        """`ticket` is in the stream, or set aside."""
        if not ticket.done:
            self._spool.acked(ticket, duplicates=ticket.duplicates)
        following = self._order.leave(ticket)
        if following is not None:
            self.released.append(following)

    # -- what the link tells

    def on_answer(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        """See link.Listener."""
        number = subject[len(self._inbox) :]
        flight = self._window.flights.get(int(number)) if number.isdigit() else None
        if headers.startswith(NOBODY):
            self._on_nobody(flight, measure=number == b"%d" % MEASURE)
            return
        if flight is None:
            return
        try:
            ack = _ack(payload)
        except msgspec.MsgspecError:
            return  # not of JetStream: somebody else listens; the ack is still to come
        if ack.error is not None:
            self._on_refused(flight, ack.error)
        elif ack.stream == PIPELINE and ack.seq:
            self._on_acked(flight, ack.duplicate)
        else:
            self._overseer.say(
                f"{flight.message.subject} is answered by {ack.stream!r}, not {PIPELINE}"
            )

    def on_read(self) -> None:
        """See link.Listener: acks let others go."""
        if self.released:
            self.send_released()
            if self.link is not None:
                self.link.flush()
        if self._starved or self.rejected:
            self._starved = False
            self._spool.wake.set()

    # -- the inside

    def _may_send(self) -> bool:
        return self.open and self.link is not None and self.link.alive

    def _read(self, ticket: Ticket) -> Exchange | None:
        try:
            return ticket.exchange()
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            self.reject(ticket, f"not an exchange: {exc}")
            return None

    def _launch(self, ticket: Ticket, exchange: Exchange) -> None:
        try:
            messages = messages_of(exchange)
        except Exception as exc:  # whatever it is, it will be so at every try
            log.exception("events_not_made", extra={"trace_id": exchange.trace_id})
            self.reject(ticket, f"its events cannot be made: {type(exc).__name__}: {exc}")
            return
        self._dispatch(ticket, messages)

    def _stored(self, ticket: Ticket, messages: list[Message]) -> None:
        """What was too large goes by reference."""
        self._dispatch(ticket, messages)
        self._overseer.say("")
        self._spool.wake.set()

    def _dispatch(self, ticket: Ticket, messages: list[Message]) -> None:
        """Send `messages`, all that `ticket` is; by way of the object store where one is too large
        for the server of the moment."""
        assert self.link is not None  # nothing is taken before there was one
        limit = _limit(self.link)
        if any(message.size > limit and message.kept for message in messages):
            self._park(ticket, limit)
            return
        ticket.cool()  # the window has its messages, the disk the record
        ticket.waiting = 0
        for message in messages:
            if message.kept:
                ticket.waiting += 1
                flight = Flight(ticket, message)
                self._window.add(flight)
                self._send(flight)
            elif message.size <= limit:
                self._send_measure(message)
        if not ticket.waiting:
            self.finish(ticket)

    def _send(self, flight: Flight) -> None:
        """Leaves it in the window, due, when there is nobody to send it to."""
        link, message = self.link, flight.message
        if link is None or not (self.open and link.alive):
            return
        if message.size > (limit := _limit(link)):  # another server than before, or another limit
            self._refer(flight, limit)
            return
        self._window.sent(flight, self._now())
        reply = f"{self._inbox}{flight.number} "
        data = message.data
        link.write(publish_head(message.subject, reply, message.event_id, len(data)), data)

    def _send_measure(self, message: Message) -> None:
        """Once, whatever becomes of it."""
        link = self.link
        if link is None or not (self.open and link.alive):
            return
        reply = ""
        if (now := self._now()) >= self._ask_at:
            self._ask_at = now + MEASURE_ASKED_S
            reply = f"{self._inbox}{MEASURE} "
        data = message.data
        link.write(publish_head(message.subject, reply, message.event_id, len(data)), data)

    def _on_acked(self, flight: Flight, duplicate: bool) -> None:
        self._window.remove(flight)
        ticket = flight.ticket
        ticket.waiting -= 1
        ticket.duplicates += duplicate
        if not ticket.waiting:
            self.finish(ticket)
        if flight.tries > 1:
            self._overseer.say("")

    def _on_nobody(self, flight: Flight | None, *, measure: bool) -> None:
        if flight is not None:
            self._window.refused(flight, self._now())
            self._overseer.say(f"{flight.message.subject}: no stream takes it")
        if flight is not None or measure:
            self._overseer.streams_missing(needed=flight is not None)

    def _on_refused(self, flight: Flight, error: PubError) -> None:
        if error.too_large:
            self._refer(flight, flight.message.size - 1)
        elif error.for_ever:
            self._window.remove_all(flight.ticket)
            self.reject(flight.ticket, f"refused by the stream: {error.description}")
        else:
            self._window.refused(flight, self._now())
            self._overseer.say(f"{flight.message.subject}: {error.description}")

    def _refer(self, flight: Flight, limit: int) -> None:
        """The record goes again, what is larger than `limit` by reference; the stream knows what
        it has of it already."""
        self._window.remove_all(flight.ticket)
        self._park(flight.ticket, limit)

    def _park(self, ticket: Ticket, limit: int) -> None:
        self._order.park(ticket)
        self.oversize.add(ticket, limit)


def _limit(link: Link) -> int:
    """The largest message that `link` takes and its stream stores."""
    return min(link.info.max_payload, STORED_BYTES)
