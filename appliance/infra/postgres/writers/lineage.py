"""`pipeline.knowledge.flow.lineage` into flow_lineage."""

from typing import Any

import msgspec

from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.table import Row, Table

NODES = Table(
    "flow_lineage",
    {
        "trace_id": "text",
        "node_id": "text",
        "node_index": "int",
        "event_id": "text",
        "correlation_id": "text",
        "conversation_id": "text",
        "kind": "text",
        "name": "text",
        "parents": "texts",
        "status": "text",
        "began_s": "float8",
        "duration_s": "float8",
        "detail": "json",
        "stream_sequence": "bigint",
        "created_at": "timestamptz",
    },
)


class Node(msgspec.Struct, kw_only=True):
    """One step; `parents` are ids of nodes before it."""

    id: str
    kind: str
    name: str
    parents: list[str]
    status: str
    began_s: float | None
    duration_s: float | None
    detail: dict[str, Any]


class LineageEvent(Envelope, kw_only=True):
    """As domain.events.lineage.FlowLineage makes it."""

    nodes: list[Node]


_decoder = msgspec.json.Decoder(LineageEvent)


class LineageWriter(EventWriter[LineageEvent]):
    """A row a node."""

    def decode(self, data: bytes) -> LineageEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[LineageEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        rows = [
            _row(event, number, node, delivery.sequence)
            for delivery, event in events
            for number, node in enumerate(event.nodes)
        ]
        return [(NODES, sorted(rows, key=_key))]


def _row(event: LineageEvent, number: int, node: Node, sequence: int) -> Row:
    return (
        event.trace_id,
        node.id,
        number,
        event.event_id,
        event.correlation_id,
        event.conversation_id,
        node.kind,
        node.name,
        node.parents,
        node.status,
        node.began_s,
        node.duration_s,
        node.detail,
        sequence,
        event.created_at,
    )


def _key(row: Row) -> tuple[str, int]:
    return row[0], row[2]
