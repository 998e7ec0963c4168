"""The shipper's window: messages sent and not acked.  Bounded, so memory does not grow with an
outage."""

import msgspec

from appliance.infra.nats.shipper.messages import Message
from appliance.infra.spool.journal import Ticket

WINDOW_MESSAGES = 512
WINDOW_BYTES = 8 * 1024 * 1024
ACK_TIMEOUT_S = 5.0
RETRY_FIRST_S = 0.25
RETRY_MOST_S = 10.0
SCAN_INTERVAL_S = 0.1
_TOO_LARGE = 10054  # "message size exceeds maximum allowed": of the stream, not of the server
_FOR_EVER = frozenset((10097,))  # "header size exceeds maximum allowed of 64k"


class PubError(msgspec.Struct, frozen=True):
    """Why a stream did not take a message; whatever is not named above may pass later."""

    description: str = ""
    err_code: int = 0

    @property
    def too_large(self) -> bool:
        """It will take a reference instead."""
        return self.err_code == _TOO_LARGE

    @property
    def for_ever(self) -> bool:
        """It will never take this one."""
        return self.err_code in _FOR_EVER


class PubAck(msgspec.Struct, frozen=True):
    """JetStream's answer to one message."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: PubError | None = None


class Flight:
    """One message under way; `due` is the loop time at which it is sent again, `tries` counts
    sends, `unanswered` those since the last answer."""

    __slots__ = ("due", "message", "number", "ticket", "tries", "unanswered")

    def __init__(self, ticket: Ticket, message: Message) -> None:
        self.ticket = ticket
        self.message = message
        self.number = 0
        self.due = 0.0
        self.tries = 0
        self.unanswered = 0


class Window:
    """Flights by number, in the order they were first sent.  Numbers begin with 1."""

    def __init__(self) -> None:
        self.flights: dict[int, Flight] = {}
        self._bytes = 0
        self._numbers = 0
        self._scan_at = 0.0

    def room(self) -> int:
        """How many more messages may be under way; a record may overshoot it by its own."""
        if self._bytes >= WINDOW_BYTES:
            return 0
        return max(0, WINDOW_MESSAGES - len(self.flights))

    def add(self, flight: Flight) -> None:
        """Take `flight` in and give it its number."""
        self._numbers += 1
        flight.number = self._numbers
        self.flights[flight.number] = flight
        self._bytes += flight.message.size

    def sent(self, flight: Flight, now: float) -> None:
        """It left at `now`."""
        flight.tries += 1
        flight.unanswered += 1
        flight.due = now + ACK_TIMEOUT_S

    def refused(self, flight: Flight, now: float) -> None:
        """The stream did not take it now; it is tried later and later."""
        flight.unanswered = 0
        flight.due = now + min(RETRY_FIRST_S * 2 ** min(flight.tries - 1, 6), RETRY_MOST_S)
        self._scan_at = min(self._scan_at, flight.due)

    def remove(self, flight: Flight) -> None:
        """It is acked."""
        if self.flights.pop(flight.number, None) is not None:
            self._bytes -= flight.message.size

    def remove_all(self, ticket: Ticket) -> None:
        """None of `ticket`'s messages is sent again from here."""
        for flight in [f for f in self.flights.values() if f.ticket is ticket]:
            self.remove(flight)

    def resend_all(self) -> None:
        """The connection is new: whatever was under way may be lost."""
        self._scan_at = 0.0
        for flight in self.flights.values():
            flight.due = 0.0
            flight.unanswered = 0

    def due(self, now: float) -> list[Flight]:
        """Those to be sent again now; looks at most every SCAN_INTERVAL_S."""
        if now < self._scan_at or not self.flights:
            return []
        self._scan_at = now + SCAN_INTERVAL_S
        return [f for f in self.flights.values() if f.due <= now]
