"""The shipper's window: messages sent and not acked.  Bounded, so memory does not grow with an
outage."""

from collections.abc import Iterator

import msgspec

from appliance.infra.spool.journal import Ticket

WINDOW_MESSAGES = 256
WINDOW_BYTES = 8 * 1024 * 1024
ACK_TIMEOUT_S = 5.0
SCAN_INTERVAL_S = 0.1
# JetStream: "message size exceeds maximum allowed", "header size exceeds maximum allowed of 64k"
_FOR_EVER = frozenset((10054, 10097))


class PubError(msgspec.Struct, frozen=True):
    """Why a stream did not take a message."""

    description: str = ""
    err_code: int = 0

    @property
    def for_ever(self) -> bool:
        """It will never take this one."""
        return self.err_code in _FOR_EVER


class PubAck(msgspec.Struct, frozen=True):
    """JetStream's answer to one message."""

    duplicate: bool = False
    error: PubError | None = None


class Flight:
    """One message under way; `due` is the loop time at which it is sent again, `tries` counts
    sends."""

    __slots__ = (
        "awaited", "due", "event_id", "headers", "number", "payload", "subject", "ticket", "tries",
    )  # fmt: skip

    def __init__(self, ticket: Ticket, subject: str, event_id: str, payload: bytes) -> None:
        self.ticket = ticket
        self.subject = subject
        self.event_id = event_id
        self.headers = {"Nats-Msg-Id": event_id}
        # Kept means in PIPELINE.  Measures are sent once beside it: awaiting an ack for each costs
        # as much as the event does, and a stream of them that is full must not hold events back.
        self.awaited = subject.startswith("pipeline.")
        self.payload = payload
        self.number = ""
        self.due = 0.0
        self.tries = 0


class Window:
    """Flights by number, in the order they were first sent."""

    def __init__(self) -> None:
        self.flights: dict[str, Flight] = {}
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
        flight.number = str(self._numbers)
        self.flights[flight.number] = flight
        self._bytes += len(flight.payload)

    def find(self, number: str) -> Flight | None:
        """None when it was acked before."""
        return self.flights.get(number)

    def sent(self, flight: Flight, now: float) -> None:
        """It left at `now`."""
        flight.tries += 1
        flight.due = now + ACK_TIMEOUT_S

    def refused(self, flight: Flight, due: float) -> None:
        """The stream did not take it now; try at `due`."""
        flight.due = due
        self._scan_at = min(self._scan_at, due)

    def remove(self, flight: Flight) -> None:
        """It is acked."""
        if self.flights.pop(flight.number, None) is not None:
            self._bytes -= len(flight.payload)

    def remove_all(self, ticket: Ticket) -> None:
        """`ticket` is given up: none of its messages is sent again."""
        for flight in [f for f in self.flights.values() if f.ticket is ticket]:
            self.remove(flight)

    def resend_all(self) -> None:
        """The connection is new: whatever was under way may be lost."""
        self._scan_at = 0.0
        for flight in self.flights.values():
            flight.due = 0.0

    def due(self, now: float) -> Iterator[Flight]:
        """Those to be sent again now; looks at most every SCAN_INTERVAL_S."""
        if now < self._scan_at or not self.flights:
            return
        self._scan_at = now + SCAN_INTERVAL_S
        yield from [f for f in self.flights.values() if f.due <= now]
