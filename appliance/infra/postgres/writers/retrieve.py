"""`pipeline.knowledge.retrieve` into retrieve_events."""

from typing import Any

import msgspec

from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import EventTable, Row, Table

RETRIEVALS = EventTable(
    "retrieve_events",
    {
        "workspace": "text",
        "query": "text",
        "model": "text",
        "hits": "json",
        "found_count": "int",
        "hit_count": "int",
        "best_score": "float8",
        "min_score": "float8",
        "hit_limit": "int",
        "degraded": "text",
        "duration_s": "float8",
        "project": "text",
        "key_name": "text",
    },
)


class RetrieveEvent(Envelope, kw_only=True):
    """As domain.events.retrieve.Retrieve makes it."""

    workspace: str
    query: str
    model: str
    hits: list[dict[str, Any]]
    found_count: int
    hit_count: int
    best_score: float | None
    min_score: float
    hit_limit: int = msgspec.field(name="limit")
    degraded: str
    duration_s: float | None
    project: str
    key_name: str


_decoder = msgspec.json.Decoder(RetrieveEvent)


class RetrieveWriter(EventWriter[RetrieveEvent]):
    """A row an event."""

    def decode(self, data: bytes) -> RetrieveEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[RetrieveEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        return [(RETRIEVALS, RETRIEVALS.rows(events))]
