"""Messages of a stream as a consumer gets them, made from exchanges the way a gateway makes them,
and what became of them."""

from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg

from appliance.domain.events.delivery import Delivery
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of


def delivery(subject: str, sequence: int, event_id: str, data: bytes) -> Delivery:
    """Handed out for the first time."""
    return Delivery("PIPELINE", subject, sequence, 1, event_id, data)


def deliveries(subject: str, *exchanges: Exchange, first: int = 1) -> list[Delivery]:
    """Every event of `subject`, in the order of the exchanges; sequences count from `first`."""
    events = [event for each in exchanges for event in events_of(each) if event.subject == subject]
    return [
        delivery(subject, sequence, event.event_id, msgspec.json.encode(event.body))
        for sequence, event in enumerate(events, first)
    ]


def changed(old: Delivery, *, without: Iterable[str] = (), **fields: Any) -> Delivery:
    """The same with other values in its body; `__` in a name stands for a dot."""
    body = msgspec.json.decode(old.data)
    body.update({name.replace("__", "."): value for name, value in fields.items()})
    for name in without:
        del body[name]
    return delivery(old.subject, old.sequence, old.event_id, msgspec.json.encode(body))


def rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values).fetchall()


def dump(dsn: str, tables: Iterable[str]) -> dict[str, list[str]]:
    """Every row of `tables` as a line, in an order of their own: equal when the tables are."""
    return {
        t: [row[0] for row in rows(dsn, f"SELECT {t}::text FROM {t} ORDER BY 1")] for t in tables
    }
