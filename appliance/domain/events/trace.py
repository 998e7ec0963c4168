"""What `appliance trace` tells of one exchange, wherever it was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POSTGRES = "in PostgreSQL"
STREAM = "in the stream, not yet consumed"
CONSUMED = "in the stream, consumed, without a row"
SPOOL = "in the spool, not yet in the stream"
POISONED = "set aside in the spool"
DEAD = "in dead_letters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """`place` is one of the constants above, `reason` why it went no further; `detail` holds route,
    backend, attempts, retrieval, tokens, times and error; `rows` counts rows by table."""

    trace_id: str
    correlation_id: str
    conversation_id: str
    occurred_at: str
    place: str
    status: str = ""
    finish_reason: str | None = None
    message_count: int = 0
    prompt: str = ""
    answer: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""
    stream: str = ""
    stream_sequence: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
