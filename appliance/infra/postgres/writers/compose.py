"""`pipeline.knowledge.compose` into compose_events."""

from typing import Any

import msgspec

from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import EventTable, Row, Table

COMPOSITIONS = EventTable(
    "compose_events",
    {
        "workspace": "text",
        "context_window": "bigint",
        "room_tokens": "bigint",
        "used_tokens": "bigint",
        "injected": "json",
        "cut": "json",
        "messages_before": "int",
        "messages_after": "int",
        "dropped": "json",
        "degraded": "text",
        "project": "text",
        "key_name": "text",
    },
)


class ComposeEvent(Envelope, kw_only=True):
    """As domain.events.compose.Compose makes it."""

    workspace: str
    context_window: int
    room_tokens: int
    used_tokens: int
    injected: list[dict[str, Any]]
    cut: list[dict[str, Any]]
    messages_before: int
    messages_after: int
    dropped: list[str]
    degraded: str
    project: str
    key_name: str


_decoder = msgspec.json.Decoder(ComposeEvent)


class ComposeWriter(EventWriter[ComposeEvent]):
    """A row an event."""

    def decode(self, data: bytes) -> ComposeEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[ComposeEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        return [(COMPOSITIONS, COMPOSITIONS.rows(events))]
