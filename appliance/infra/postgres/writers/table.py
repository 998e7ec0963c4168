"""A table as a writer fills it: one INSERT over arrays for any number of rows.  Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.domain.events.delivery import Delivery
from appliance.infra.postgres.payload import Envelope, json_text

Row = tuple[Any, ...]

# Kind of a column: the array it is sent as, and how an element becomes the column's value.
_KINDS: Mapping[str, tuple[str, str]] = {
    "text": ("text", "{}"),
    "int": ("int", "{}"),
    "bigint": ("bigint", "{}"),
    "float8": ("float8", "{}"),
    "boolean": ("boolean", "{}"),
    "bytea": ("bytea", "{}"),
    "timestamptz": ("text", "{}::timestamptz"),
    "json": ("text", "{}::jsonb"),  # any value
    "json_text": ("text", "{}::jsonb"),  # JSON already
    # unnest would flatten an array of arrays.
    "texts": ("text", "ARRAY(SELECT jsonb_array_elements_text({}::jsonb))"),
}
_ENCODED = ("json", "texts")

# Of every table with one row an event; the rest of the row is in between.
ENVELOPE: Mapping[str, str] = {
    "event_id": "text",
    "trace_id": "text",
    "correlation_id": "text",
    "conversation_id": "text",
    "created_at": "timestamptz",
}


class Table:
    """`columns` maps names to kinds, in the order of a row.  `shared`: its rows are of many events
    at once, so that they are not counted."""

    def __init__(self, name: str, columns: Mapping[str, str], *, shared: bool = False) -> None:
        self.name = name
        self.columns = columns
        self.shared = shared
        self.insert = _insert(name, columns)
        self._encoded = [kind in _ENCODED for kind in columns.values()]

    def arrays(self, rows: Sequence[Row]) -> list[list[Any]]:
        """The parameters of `insert`: an array a column.  `rows` must not be empty."""
        return [
            [None if value is None else json_text(value) for value in column]
            if encoded
            else list(column)
            for column, encoded in zip(zip(*rows, strict=True), self._encoded, strict=True)
        ]


class EventTable(Table):
    """One with a row an event: envelope, `columns`, place in the stream."""

    def __init__(self, name: str, columns: Mapping[str, str]) -> None:
        super().__init__(name, {**ENVELOPE, **columns, "stream_sequence": "bigint"})
        self._fields = (*ENVELOPE, *columns)

    def rows(self, events: Sequence[tuple[Delivery, Envelope]]) -> list[Row]:
        """One each, in the order of their ids; an event has a field for every column."""
        rows = [
            (*[getattr(event, name) for name in self._fields], delivery.sequence)
            for delivery, event in events
        ]
        return sorted(rows, key=_first)


def _first(row: Row) -> str:
    return str(row[0])


def _insert(name: str, columns: Mapping[str, str]) -> bytes:
    names = ", ".join(columns)
    values = ", ".join(_KINDS[kind][1].format(column) for column, kind in columns.items())
    arrays = ", ".join(f"%b::{_KINDS[kind][0]}[]" for kind in columns.values())
    return (
        f"INSERT INTO {name} ({names}) SELECT {values} "
        f"FROM unnest({arrays}) AS new ({names}) ON CONFLICT DO NOTHING"
    ).encode()
