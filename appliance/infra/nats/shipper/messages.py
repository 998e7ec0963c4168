"""From an exchange to the bytes of its messages.  Pure; called by the shipper for every exchange.

The same events as `topics.events_of`, as JSON (a test compares them): what all events of an
exchange share is encoded once, which is half of the cost of a short one.
"""

import re
from dataclasses import dataclass

import msgspec

from appliance.domain.events.envelope import event_id, rfc3339
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import KEPT, TOPICS
from appliance.infra.nats.publisher.wire import HEADER_BYTES

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch  # as a header and within a JSON string
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)  # not frozen: four are made per exchange, and frozen costs a microsecond
class Message:
    """`size` is what a server holds against its `max_payload`.  `kept`: it must get into PIPELINE.
    Measures are sent once beside it: awaiting an ack for each costs as much as the event does, and
    a full stream of them must not hold events back."""

    subject: str
    event_id: str
    data: bytes
    size: int
    kept: bool


_TABLE = tuple(
    (subject, subject.startswith(KEPT), topic.payloads, topic.schema.encode("ascii"))
    for subject, topic in TOPICS.items()
)


def messages_of(exchange: Exchange) -> list[Message]:
    """Every message of `exchange`, `pipeline.*` first.  Raises ValueError for a trace id that is
    none, and whatever a topic makes of a record that is not as it should be."""
    trace_id = exchange.trace_id
    if not _PLAIN(trace_id):
        raise ValueError(f"not a trace id: {trace_id[:80]!r}")
    shared, host = _shared(exchange)
    stored = exchange.store != "none"
    messages = []
    for subject, kept, payloads, schema in _TABLE:
        if kept and not stored:
            continue
        for number, payload in enumerate(payloads(exchange)):
            identifier = event_id(trace_id, subject, number)
            # A join: a format string of bytes costs twice as much.
            data = b"".join(
                (b'{"event_id":"', identifier.encode(), shared, schema, host, _encode(payload)[1:])
            )
            size = HEADER_BYTES + len(identifier) + len(data)
            messages.append(Message(subject, identifier, data, size, kept))
    return messages


def _shared(exchange: Exchange) -> tuple[bytes, bytes]:
    """What stands between the event id and the schema, and between that and the payload."""
    fields = {
        "trace_id": exchange.trace_id,
        "correlation_id": exchange.correlation_id,
        "conversation_id": exchange.conversation_id,
        "occurred_at": rfc3339(exchange.occurred_at),
    }
    return (
        b'",%b,"schema":"' % _encode(fields)[1:-1],
        b'","host":%b,' % _encode(exchange.host),
    )
