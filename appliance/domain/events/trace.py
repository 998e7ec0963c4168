"""What `appliance trace` tells of an exchange: each of its events, where it is and what it says.

Pure.  An event is told alike wherever it was found: `facts` gives the payload the names that the
columns of its table have.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.domain.events import chat, embedding, retrieve, tool_call
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.envelope import event_id
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.route import ROUTE
from appliance.domain.events.topics import KEPT, TOPICS

POSTGRES = "in PostgreSQL"
DEAD = "in dead_letters"
CONSUMED = "in the stream, consumed, without a row"
UNTOLD = "in the stream, consumed; its rows were not looked at"
STREAM = "in the stream, not yet consumed"
MEASURES = "in the stream, for no consumer of ours"
SPOOL = "in the spool, not yet in the stream"
POISONED = "set aside in the spool"
MISSING = "not found"

# Of an event found twice, the place that comes first here is where it is.
PLACES = (POSTGRES, DEAD, CONSUMED, UNTOLD, STREAM, MEASURES, SPOOL, POISONED, MISSING)
_ENVELOPE = ("event_id", "trace_id", "correlation_id", "conversation_id", "occurred_at")
_COLUMNS: Mapping[str, str] = {
    "gen_ai.operation.name": "operation",
    "gen_ai.provider.name": "provider",
    "gen_ai.request.model": "request_model",
    "gen_ai.response.model": "model",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cache_read_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "gen_ai.tool.call.id": "call_id",
    "gen_ai.tool.name": "name",
    "gen_ai.tool.call.arguments": "arguments",
    "gen_ai.tool.call.result": "content",
    "error.type": "error_type",
    "error.message": "error_message",
    "limit": "hit_limit",
}
_CHAT = (chat.PERSIST, chat.TELEMETRY)
# Nodes that stand where a language model does: whose answer comes from one has no chat.
WITHOUT_CHAT = ("moderation", "rerank")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedEvent:
    """One event.  `place` is one of PLACES and `reason` why it went no further; `consumer` is the
    durable that takes its subject; `acked` None when nobody could say; `rows` counts by table.

    `size_bytes` is that of a payload by reference, None for one that lies in its message."""

    event_id: str
    subject: str
    place: str
    trace_id: str
    correlation_id: str = ""
    conversation_id: str = ""
    occurred_at: str = ""
    stream: str = ""
    sequence: int | None = None
    consumer: str = ""
    acked: bool | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    size_bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """It is one of those that must not be lost."""
        return self.subject.startswith(KEPT)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the lineage; `parents` are ids of nodes before it, seconds count from the request's
    arrival."""

    id: str
    kind: str
    name: str
    parents: tuple[str, ...]
    status: str
    began_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRun:
    """What `asset` of a run of Dagster did with a batch of `subject` that an event of the exchange
    was in; the counts are the whole batch's.  `status`, `ended_at` and `materialised_at` are empty
    where Dagster does not say, `url` where its pages are not served."""

    run_id: str
    job: str
    asset: str
    subject: str
    began_at: str
    status: str = ""
    ended_at: str = ""
    materialised_at: str = ""
    events: int = 0
    rows_written: int = 0
    rows_already_there: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One exchange: its events in the order of TOPICS, those that are missing included; the `runs`
    of Dagster it took part in, latest first, None while nobody could say."""

    trace_id: str
    correlation_id: str
    conversation_id: str
    occurred_at: str
    events: tuple[TracedEvent, ...]
    runs: tuple[TracedRun, ...] | None = None

    def facts(self, *subjects: str) -> Mapping[str, Any]:
        """What the first event of one of `subjects` says; {} when there is none that speaks."""
        for subject in subjects:
            for event in self.events:
                if event.subject == subject and event.facts:
                    return event.facts
        return {}

    @property
    def chat(self) -> Mapping[str, Any]:
        """The exchange as its chat event tells it, or the measures of it that were kept."""
        return self.facts(*_CHAT)

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """Calls and results, as they were numbered."""
        return [e.facts for e in self.events if e.subject == tool_call.TOOL_CALL and e.facts]

    @property
    def nodes(self) -> list[Node]:
        """The lineage, parents before children."""
        return nodes_of(self.facts(LINEAGE).get("nodes"))

    @property
    def places(self) -> dict[str, int]:
        """How many events that must not be lost are where; of measures alone, where these are."""
        kept = [e.place for e in self.events if e.kept] or [e.place for e in self.events]
        return dict(sorted(Counter(kept).items(), key=lambda item: PLACES.index(item[0])))

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table, of all events."""
        counts: Counter[str] = Counter()
        for event in self.events:
            counts.update(event.rows)
        return dict(counts)

    @property
    def sequence(self) -> int | None:
        """Of its first event in PIPELINE."""
        found = [e.sequence for e in self.events if e.kept and e.sequence is not None]
        return min(found, default=None)

    @property
    def rates(self) -> bool:
        """It brought feedback on another exchange: then that is its one event."""
        return any(e.event_id == event_id(self.trace_id, FEEDBACK) for e in self.events)

    @property
    def complete(self) -> bool:
        """Every event it became is known; False while nobody can say which these are."""
        known = self.rates or bool(self.facts(LINEAGE))
        return known and all(e.place != MISSING for e in self.events)


def facts(subject: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of an event, without its envelope, by the names of columns."""
    told = {_COLUMNS.get(key, key): value for key, value in body.items() if key not in _ENVELOPE}
    if subject in _CHAT:
        told["response_model"] = told.pop("model", "")
    if isinstance(reasons := told.pop("gen_ai.response.finish_reasons", None), list | tuple):
        told["finish_reason"] = next(iter(reasons), None)
    return told


def expected(trace_id: str, nodes: Iterable[Node]) -> dict[str, str]:
    """Which events an exchange of these nodes became: subject by event id."""
    nodes = list(nodes)
    kinds = Counter(node.kind for node in nodes)
    embedded, looked_up = min(kinds["embedding"], 1), min(kinds["retrieve"], 1)
    only_embedded = embedded and not looked_up
    answers = {parent for node in nodes if node.kind == "answer" for parent in node.parents}
    talked = 0 if only_embedded or answers & set(WITHOUT_CHAT) else 1
    tools = kinds["tool"] + kinds["tool_result"]
    reranked = min(kinds["rerank"], 1)
    scored = any(node.kind == "rerank" and node.status == "ok" for node in nodes)
    numbers = {
        chat.PERSIST: talked,
        embedding.EMBEDDING: embedded,
        retrieve.RETRIEVE: looked_up + scored,
        COMPOSE: looked_up,
        LINEAGE: 1,
        tool_call.TOOL_CALL: tools,
        chat.TELEMETRY: talked,
        embedding.TELEMETRY: embedded,
        retrieve.TELEMETRY: looked_up + reranked,
        tool_call.TELEMETRY: min(tools, 1),
        ROUTE: 1,
    }
    return {
        event_id(trace_id, subject, number): subject
        for subject, count in numbers.items()
        for number in range(count)
    }


def nodes_of(listed: Any) -> list[Node]:
    """Nodes as an event or rows list them; what is no node, or is there twice, is left out, and
    so are parents that do not come before: what remains has no cycle."""
    nodes: dict[str, Node] = {}
    for each in listed if isinstance(listed, list) else ():
        identifier = str(each.get("id", "")) if isinstance(each, dict) else ""
        if not identifier or identifier in nodes:
            continue
        parents = each.get("parents")
        found = (
            [p for p in parents if isinstance(p, str) and p in nodes]
            if isinstance(parents, list)
            else []
        )
        nodes[identifier] = Node(
            identifier,
            str(each.get("kind", "")),
            str(each.get("name", "")),
            tuple(dict.fromkeys(map(str, found))),
            str(each.get("status", "")),
            number(each.get("began_s")),
            number(each.get("duration_s")),
        )
    return list(nodes.values())


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < 1e12 else None


def merged(one: TracedEvent, other: TracedEvent) -> TracedEvent:
    """The same event found twice: where it has come furthest, with what either one says."""
    first, second = sorted((one, other), key=lambda event: PLACES.index(event.place))
    return replace(
        first,
        rows={**first.rows, **second.rows, **first.rows},
        facts=first.facts or second.facts,
        correlation_id=first.correlation_id or second.correlation_id,
        conversation_id=first.conversation_id or second.conversation_id,
        occurred_at=first.occurred_at or second.occurred_at,
        size_bytes=second.size_bytes if first.size_bytes is None else first.size_bytes,
    )


def exchange_of(events: Sequence[TracedEvent]) -> Traced:
    """One exchange from the events found of it, at least one; those it must have and nobody found
    are added as MISSING."""
    known = {event.event_id for event in events}
    first = next((e for e in events if e.correlation_id), events[0])
    found = Traced(
        trace_id=first.trace_id,
        correlation_id=first.correlation_id,
        conversation_id=first.conversation_id,
        occurred_at=first.occurred_at,
        events=tuple(sorted(events, key=_order)),
    )
    nodes = found.nodes
    absent = [
        TracedEvent(event_id=identifier, subject=subject, place=MISSING, trace_id=first.trace_id)
        for identifier, subject in (expected(first.trace_id, nodes) if nodes else {}).items()
        if identifier not in known and subject.startswith(KEPT)
    ]
    return replace(found, events=tuple(sorted([*found.events, *absent], key=_order)))


def _order(event: TracedEvent) -> tuple[int, int, str]:
    subjects = list(TOPICS)
    place = subjects.index(event.subject) if event.subject in TOPICS else len(subjects)
    last = event.event_id.rpartition(":")[2]
    return place, int(last) if last.isascii() and last.isdigit() else 0, event.event_id
