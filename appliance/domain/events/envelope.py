"""What every event carries before its payload (DESIGN.md 6).  Pure; called by
`topics.events_of`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from appliance.domain.events.exchange import Exchange


@dataclass(
    slots=True
)  # not frozen: two are made per exchange, and frozen costs a microsecond of each
class Event:
    """One message on its way to `subject`; `body` is the envelope and the payload, fit for JSON."""

    subject: str
    event_id: str
    body: dict[str, Any]


def event_id(trace_id: str, subject: str, number: int = 0) -> str:
    """The same for the same exchange, subject and place: what is sent again is known again."""
    return f"{trace_id}:{subject}:{number}" if number else f"{trace_id}:{subject}"


def rfc3339(unix_s: float) -> str:
    """`2026-11-21T14:27:01.123456Z`."""
    micros = round(unix_s * 1_000_000)
    return f"{_second(micros // 1_000_000)}.{micros % 1_000_000:06d}Z"


@lru_cache(
    maxsize=8
)  # the second is the same for all events of an exchange, and for its neighbours
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def envelope(exchange: Exchange) -> dict[str, Any]:
    """The seven fields every event starts with.  `event_id` and `schema` (`<name>/<version>`) are
    each event's own and come later: they have their place here."""
    return {
        "event_id": "",
        "trace_id": exchange.trace_id,
        "correlation_id": exchange.correlation_id,
        "conversation_id": exchange.conversation_id,
        "occurred_at": rfc3339(exchange.occurred_at),
        "schema": "",
        "host": exchange.host,
    }
