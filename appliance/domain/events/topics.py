"""TOPICS: which events an exchange becomes.  A topic is one class with `schema` and `payloads`,
plus one line.

The spool keeps exchanges; the shipper asks here what to publish of each.  Pure: no clock, no I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from appliance.domain.events import embedding, retrieve, tool_call
from appliance.domain.events.chat import PERSIST, TELEMETRY, ChatPersist, ChatTelemetry
from appliance.domain.events.compose import COMPOSE, Compose
from appliance.domain.events.envelope import Event, envelope, event_id
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.feedback import FEEDBACK, FeedbackGiven
from appliance.domain.events.lineage import LINEAGE, FlowLineage
from appliance.domain.events.route import ROUTE, Route


class Topic(Protocol):
    """An event class: `schema` names its shape, `payloads` makes none, one or several of an
    exchange."""

    schema: str

    @staticmethod
    def payloads(exchange: Exchange) -> Iterable[dict[str, Any]]:
        """The fields after the envelope, always in the same order for the same exchange."""


TOPICS: Mapping[str, type[Topic]] = {
    PERSIST: ChatPersist,
    embedding.EMBEDDING: embedding.EmbeddingMade,
    retrieve.RETRIEVE: retrieve.Retrieve,
    COMPOSE: Compose,
    LINEAGE: FlowLineage,
    tool_call.TOOL_CALL: tool_call.ToolCall,
    FEEDBACK: FeedbackGiven,
    TELEMETRY: ChatTelemetry,
    embedding.TELEMETRY: embedding.EmbeddingTelemetry,
    retrieve.TELEMETRY: retrieve.RetrieveTelemetry,
    tool_call.TELEMETRY: tool_call.ToolCallTelemetry,
    ROUTE: Route,
}
KEPT = "pipeline."  # what must not be lost; measures are sent once beside it


def events_of(exchange: Exchange) -> Iterator[Event]:
    """Every event of `exchange`, `pipeline.*` first, and none of these when nothing is stored."""
    shared = envelope(exchange)
    for subject, topic in TOPICS.items():
        if exchange.store == "none" and subject.startswith(KEPT):
            continue
        for number, payload in enumerate(topic.payloads(exchange)):
            identifier = event_id(exchange.trace_id, subject, number)
            own = {"event_id": identifier, "schema": topic.schema}
            yield Event(subject, identifier, {**shared, **own, **payload})
