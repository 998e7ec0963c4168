"""TOPICS: which events an exchange becomes.  A topic is one class with `schema` and `payloads`,
plus one line.

The spool keeps exchanges; the shipper asks here what to publish of each.  Pure: no clock, no I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from appliance.domain.events.chat import PERSIST, TELEMETRY, ChatPersist, ChatTelemetry
from appliance.domain.events.envelope import Event, envelope, event_id
from appliance.domain.events.exchange import Exchange


class Topic(Protocol):
    """An event class: `schema` names its shape, `payloads` makes none, one or several of an
    exchange."""

    schema: str

    @staticmethod
    def payloads(exchange: Exchange) -> Iterable[dict[str, Any]]:
        """The fields after the envelope, always in the same order for the same exchange."""


TOPICS: Mapping[str, type[Topic]] = {
    PERSIST: ChatPersist,
    TELEMETRY: ChatTelemetry,
}


def events_of(exchange: Exchange) -> Iterator[Event]:
    """Every event of `exchange`, `pipeline.*` first."""
    for subject, topic in TOPICS.items():
        for number, payload in enumerate(topic.payloads(exchange)):
            identifier = event_id(exchange.trace_id, subject, number)
            body = envelope(exchange, identifier, topic.schema)
            body.update(payload)
            yield Event(subject, identifier, body)
