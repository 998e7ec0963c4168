"""The record of one exchange, as the gateway hands it to the spool.  Every event is made from
it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["finished", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved chunk: `document` relative to what was ingested, `score` the cosine
    similarity."""

    document: str
    chunk: int
    score: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What knowledge added: the hits that were injected, best first, or why there are none."""

    workspace: str
    hits: tuple[Hit, ...] = ()
    degraded: str = ""  # inference | postgres | "" when it worked
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a backend: `outcome` is `ok` or the error's class name."""

    backend: str
    model: str
    outcome: str


@dataclass(slots=True, kw_only=True)  # not frozen: with thirty fields that costs 6 µs an exchange
class Exchange:
    """Written once, by whoever ends the exchange.  One exchange, whole: finished, failed or
    cancelled.  `occurred_at` is Unix seconds at the request's arrival; durations are seconds; token
    counts are None when nobody reported them."""

    trace_id: str
    correlation_id: str
    conversation_id: str
    occurred_at: float
    host: str
    status: Status
    http_status: int
    operation: str = "chat"
    surface: str = "openai_chat"
    stream: bool = False
    route: str = "direct"
    request_model: str = ""
    selected_model: str = ""
    response_model: str = ""
    backend: str = ""
    provider: str = ""
    router_reason: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()  # as the client sent them: role, content, …
    params: Mapping[str, Any] = field(default_factory=dict)
    answer: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    duration_s: float = 0.0
    time_to_first_token_s: float | None = None
    retrieval: Retrieval | None = None
    attempts: tuple[Attempt, ...] = ()
    error_type: str = ""
    error_message: str = ""
    project: str = ""
    key_name: str = ""
