"""The record of one exchange, as the gateway hands it to the spool.  Every event is made from it.

Every field added later has a default: a spool written by an older gateway is adopted and shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["finished", "failed", "cancelled"]
Store = Literal["full", "metadata", "none"]  # `[privacy] store`; see privacy.py


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk that was injected: `document` relative to what was ingested, `score` the cosine
    similarity, `tokens` an estimate of what it takes in the prompt."""

    document: str
    chunk: int
    score: float
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """One chunk that was found and left out.  `reason`: score (below `min_score`), room (too long
    for what was left), repeated (the same text as another), limit (enough were taken)."""

    document: str
    chunk: int
    score: float
    tokens: int
    reason: Literal["score", "room", "repeated", "limit"]


@dataclass(frozen=True, slots=True)
class Embedding:
    """One call to an embedding model.  `purpose`: request (a caller asked for the vectors) or query
    (a retrieval did).  The vectors themselves are not part of the record.

    `dimensions` and `input_tokens` are None when nobody told; `began_s` counts from the arrival of
    the request."""

    purpose: Literal["request", "query"]
    model: str
    texts: tuple[str, ...] = ()
    dimensions: int | None = None
    input_tokens: int | None = None
    began_s: float = 0.0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What knowledge added: the hits that were injected, best first, or why there are none.

    `query` is the text that was looked up; `cut` is what was found and left out, best first;
    `limit` the most hits taken; `room_tokens` what chunks may take of `context_window`;
    `embedding` is None when the search did not get that far."""

    workspace: str
    hits: tuple[Hit, ...] = ()
    degraded: str = ""  # inference | postgres | "" when it worked
    duration_s: float = 0.0
    began_s: float = 0.0
    query: str = ""
    cut: tuple[Cut, ...] = ()
    min_score: float = 0.0
    limit: int = 0
    room_tokens: int = 0
    context_window: int = 0
    embedding: Embedding | None = None


@dataclass(slots=True)
class Attempt:
    """One try at a backend: `outcome` is `ok` or the error's class name.  `began_s` counts from the
    arrival of the request, waiting for a slot included."""

    backend: str
    model: str
    outcome: str
    began_s: float = 0.0
    duration_s: float = 0.0


@dataclass(slots=True)
class Returned:
    """What a tool said, as the request that follows its call brings it: `name` and `arguments` are
    those of the call with this id in the same request, empty where there is none."""

    call_id: str
    name: str = ""
    arguments: str = ""
    content: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a caller says of an earlier answer: `rated_trace_id` names it, and may be anybody's or
    nobody's; `rating` from -5 (bad) to 5 (good)."""

    rated_trace_id: str
    rating: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Moderation:
    """One call to a moderator: how many inputs it scored and how many of them it flagged.  Neither
    what they said nor what was found in them is part of the record."""

    model: str
    inputs: int = 0
    flagged: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scored:
    """What a reranker gave document `index`, counted from 0 as the caller sent them.  `digest` is
    the sha256 of its text, `name` what the caller calls it; the text itself is not kept."""

    index: int
    score: float
    digest: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rerank:
    """One call to a reranker: `documents` counts what it was given, `scores` has all of them, best
    first, `top_n` is how many the caller wanted back (None: all).  Without an answer there are no
    scores, and `model` is the one asked for."""

    model: str
    query: str = ""
    documents: int = 0
    top_n: int | None = None
    scores: tuple[Scored, ...] = ()
    input_tokens: int | None = None
    duration_s: float = 0.0


@dataclass(slots=True, kw_only=True)  # not frozen: with forty fields that costs 8 µs an exchange
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
    operation: str = "chat"  # chat text_completion embeddings feedback moderation rerank
    surface: str = "openai_chat"
    stream: bool = False
    route: str = "direct"
    request_model: str = ""
    selected_model: str = ""
    response_model: str = ""
    backend: str = ""
    provider: str = ""
    router_reason: str = ""
    candidates: tuple[str, ...] = ()  # the backends of the plan, in the order they would be asked
    messages: tuple[Mapping[str, Any], ...] = ()  # as the client sent them: role, content, …
    message_count: int = 0  # with what was injected: as the backend was asked
    params: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()  # fields the backend's wire could not be told
    answer: str = ""
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_results: tuple[Returned, ...] = ()  # of the last turn alone: agents resend the others
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    duration_s: float = 0.0
    time_to_first_token_s: float | None = None
    retrieval: Retrieval | None = None
    embedding: Embedding | None = None  # of an exchange that is an embedding
    attempts: tuple[Attempt, ...] = ()
    error_type: str = ""
    error_message: str = ""
    project: str = ""
    key_name: str = ""
    store: Store = "full"
    feedback: Feedback | None = None  # of an exchange that rates another
    moderation: Moderation | None = None  # of an exchange that is a moderation
    rerank: Rerank | None = None  # of an exchange that is a rerank
