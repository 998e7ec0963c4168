"""Reads exchanges back from the tables of events and from dead_letters, by either id.  For
`appliance trace`.

What a row says is told in the names of its columns, which `domain.events.trace.facts` gives to an
event too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import sql

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, PIPELINE
from appliance.domain.events.envelope import event_id, rfc3339
from appliance.domain.events.feedback import FEEDBACK
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.trace import DEAD, POSTGRES, TracedEvent, facts
from appliance.infra.postgres.forget import forgotten_among
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.rows import role_of, text_of

MOST_LETTERS = 10_000  # the newest; they have no index over correlation ids
_KEYS = ("event_id", "trace_id", "correlation_id", "conversation_id", "stream_sequence")
_UNTOLD = frozenset((*_KEYS, "created_at", "id_key", "call_key"))
_BY_TRACE = sql.SQL("SELECT trace_id, stream_sequence FROM {} WHERE trace_id = %(id)s")
_BY_CORRELATION = """
SELECT trace_id, stream_sequence FROM chat_history
    WHERE correlation_id = %(id)s AND detail IS NOT NULL
UNION ALL
SELECT trace_id, stream_sequence FROM chat_pairs WHERE correlation_id = %(id)s
UNION ALL
SELECT trace_id, stream_sequence FROM flow_lineage
    WHERE correlation_id = %(id)s AND node_id = 'request'
UNION ALL
SELECT feedback_trace_id, stream_sequence FROM feedback
    WHERE feedback_trace_id = %(id)s OR correlation_id = %(id)s
"""
_CHAT = """
SELECT h.trace_id, h.correlation_id, h.conversation_id, extract(epoch FROM h.created_at)::float8,
    h.stream_sequence,
    (SELECT count(*) FROM chat_history m WHERE m.trace_id = h.trace_id),
    (SELECT count(*) FROM chat_pairs p WHERE p.trace_id = h.trace_id),
    h.detail, h.status, h.finish_reason, h.seq, c.content, c.message,
    (SELECT t.content FROM chat_history m JOIN message_contents t ON t.hash = m.content_hash
     WHERE m.trace_id = h.trace_id AND m.role = 'user' ORDER BY m.seq DESC LIMIT 1)
FROM chat_history h LEFT JOIN message_contents c ON c.hash = h.content_hash
WHERE h.detail IS NOT NULL AND h.trace_id = ANY(%(ids)s)
"""
_PAIRS = "SELECT to_jsonb(t) - 'embedding' FROM chat_pairs t WHERE trace_id = ANY(%(ids)s)"
_ROWS = sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE trace_id = ANY(%(ids)s)")
_FEEDBACK = """
SELECT to_jsonb(t) FROM feedback t
WHERE trace_id = ANY(%(ids)s) OR feedback_trace_id = ANY(%(ids)s) ORDER BY stream_sequence
"""
_DEAD = """
SELECT stream, stream_sequence, subject, event_id, trace_id, reason, deliveries, payload,
    extract(epoch FROM created_at)::float8
FROM dead_letters WHERE trace_id = ANY(%(ids)s) ORDER BY id
"""
# An event begins with its envelope; of a payload of any size no more than that is read.
_DEAD_BY_CORRELATION = """
SELECT trace_id, stream_sequence FROM
    (SELECT * FROM dead_letters ORDER BY id DESC LIMIT %(most)s) newest
WHERE position(%(field)s IN substring(payload FROM 1 FOR 2048)) > 0
"""
# Those that are read as they are; the rows of a chat are put together by _CHAT, and those of
# feedback are told of two exchanges.
_PLAIN = [
    (durable.subject, table)
    for durable in DURABLES.values()
    if durable.subject not in (PERSIST, FEEDBACK)
    for table in durable.tables
]
_decode = msgspec.json.Decoder().decode


class History:
    """Read only; over `pool`.  Every method raises PartUnavailable(part="postgres")."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def trace_ids(self, identifier: str, limit: int) -> list[str]:
        """Exchanges whose trace id or correlation id is `identifier`, in the order of the
        stream."""
        tables = [table for durable in DURABLES.values() for table in durable.tables]
        found = sql.SQL(" UNION ALL ").join(
            [
                *(_BY_TRACE.format(sql.Identifier(table)) for table in [*tables, "dead_letters"]),
                sql.SQL(_BY_CORRELATION),
            ]
        )
        query = sql.SQL(
            "SELECT trace_id, min(stream_sequence) FROM ({}) found GROUP BY trace_id "
            "ORDER BY min(stream_sequence), trace_id LIMIT %(limit)s"
        ).format(found)
        values = {"id": identifier, "limit": limit}
        field = b'"correlation_id":' + msgspec.json.encode(identifier)
        letters = {"most": MOST_LETTERS, "field": field}
        async with self._pool.transaction() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
            dead = await (await connection.execute(_DEAD_BY_CORRELATION, letters)).fetchall()
        first = {str(trace_id): int(sequence) for trace_id, sequence in rows}
        for trace_id, sequence in dead:
            first.setdefault(trace_id, sequence)
        return sorted(first, key=lambda trace_id: (first[trace_id], trace_id))[:limit]

    async def events(self, trace_ids: Sequence[str]) -> list[TracedEvent]:
        """All that rows and dead letters tell of these exchanges; an event may be there twice."""
        ids = {"ids": list(trace_ids)}
        async with self._pool.transaction() as connection:
            pairs = await _objects(connection, sql.SQL(_PAIRS), ids)
            chats = await (await connection.execute(_CHAT, ids)).fetchall()
            found = [*map(_chat, chats), *map(_pair, pairs)]
            for subject, table in _PLAIN:
                query = _ROWS.format(sql.Identifier(table))
                found += _table(subject, table, await _objects(connection, query, ids))
            found += _feedback(
                await _objects(connection, sql.SQL(_FEEDBACK), ids), frozenset(trace_ids)
            )
            letters = await (await connection.execute(_DEAD, ids)).fetchall()
        return [*found, *map(_letter, letters)]

    async def forgotten(self, identifiers: Iterable[str]) -> bool:
        """Whether somebody asked to forget one of these."""
        return bool(await forgotten_among(self._pool, identifiers))


def event_from(body: Mapping[str, Any], subject: str, place: str, **where: Any) -> TracedEvent:
    """An event that has no row, as its body tells it; of a chat the last question and the number of
    messages instead of all of them."""
    told = facts(subject, body)
    if isinstance(messages := told.pop("messages", None), list):
        found = [m for m in messages if isinstance(m, dict)]
        prompts = [text_of(m.get("content")) for m in found if role_of(m) == "user"]
        told["prompt"] = prompts[-1] if prompts else ""
        told["message_count"] = len(messages)
    if isinstance(reasoning := told.get("reasoning"), str):
        told["reasoning_chars"] = len(reasoning)
    told.pop("payload_ref", None)
    trace_id = _text(body, "trace_id")
    return TracedEvent(
        event_id=_text(body, "event_id") or event_id(trace_id, subject),
        subject=subject,
        place=place,
        trace_id=trace_id,
        correlation_id=_text(body, "correlation_id"),
        conversation_id=_text(body, "conversation_id"),
        occurred_at=_text(body, "occurred_at"),
        facts=told,
        **where,
    )


async def _objects(
    connection: Connection, query: sql.SQL | sql.Composed, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [row[0] for row in await (await connection.execute(query, values)).fetchall()]


def _chat(row: tuple[Any, ...]) -> TracedEvent:
    trace_id, correlation_id, conversation_id, created, sequence, history, pairs = row[:7]
    detail, status, finish_reason, seq, answer, message, prompt = row[7:]
    sent = message if isinstance(message, dict) else {}
    told = {
        **detail,
        "status": status,
        "finish_reason": finish_reason,
        "message_count": seq,
        "prompt": prompt or "",
        "answer": answer or "",
        "tool_calls": sent.get("tool_calls") or [],
    }
    if isinstance(reasoning := sent.get("reasoning"), str):
        told |= {"reasoning": reasoning, "reasoning_chars": len(reasoning)}
    return TracedEvent(
        event_id=event_id(trace_id, PERSIST),
        subject=PERSIST,
        place=POSTGRES,
        trace_id=trace_id,
        correlation_id=correlation_id,
        conversation_id=conversation_id,
        occurred_at=rfc3339(created),
        stream=PIPELINE,
        sequence=sequence,
        rows={"chat_history": history} | ({"chat_pairs": pairs} if pairs else {}),
        facts=told,
    )


def _pair(row: dict[str, Any]) -> TracedEvent:
    """The pair alone, where the messages were removed before it."""
    told = {"status": "finished", "http_status": 200, "answer": row.get("response", "")}
    return _row(PERSIST, row | told, {"chat_pairs": 1})


def _table(subject: str, table: str, rows: list[dict[str, Any]]) -> Iterator[TracedEvent]:
    if table == "rerank_scores":
        yield from _reranks(rows)
        return
    if subject != LINEAGE:
        kind = {"kind": "result" if table == "tool_results" else "call"}
        for row in rows:
            yield _row(subject, (kind | row) if "tool" in table else row, {table: 1})
        return
    by_event: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["node_index"])):
        by_event.setdefault(row["event_id"], []).append(row | {"id": row["node_id"]})
    for nodes in by_event.values():
        kept = ("id", "kind", "name", "parents", "status", "began_s", "duration_s", "detail")
        told = {"nodes": [{key: node.get(key) for key in kept} for node in nodes]}
        envelope = {key: nodes[0][key] for key in (*_KEYS, "created_at")}
        yield _row(subject, envelope | told, {table: len(nodes)})


def _reranks(rows: list[dict[str, Any]]) -> Iterator[TracedEvent]:
    """One event of the rows of each, as the event has it: `scores` best first."""
    by_event: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["rank"])):
        by_event.setdefault(row["event_id"], []).append(row)
    told = ("request_model", "model", "query", "document_count", "top_n", "project", "key_name")
    for scored in by_event.values():
        first = scored[0]
        shared = {key: first[key] for key in (*_KEYS, "created_at", *told)}
        scores = [
            {"index": row["document_index"], "score": row["score"], "name": row["document_name"]}
            for row in scored
        ]
        more = {"kind": "rerank", "status": "finished", "scores": scores}
        yield _row(RETRIEVE, shared | more, {"rerank_scores": len(scored)})


def _feedback(rows: Iterable[dict[str, Any]], trace_ids: frozenset[str]) -> Iterator[TracedEvent]:
    """An event of the request that brought it, and one more of the exchange it rates."""
    for row in rows:
        rated, own = row["trace_id"], row["feedback_trace_id"]
        if own in trace_ids:
            yield _row(FEEDBACK, row | {"trace_id": own, "rated_trace_id": rated}, {"feedback": 1})
        if rated in trace_ids and rated != own:
            elsewhere = {"correlation_id": "", "conversation_id": ""}  # those are the request's
            yield _row(FEEDBACK, row | elsewhere, {"feedback": 1})


def _row(subject: str, row: dict[str, Any], rows: Mapping[str, int]) -> TracedEvent:
    created = datetime.fromisoformat(row["created_at"])
    return TracedEvent(
        event_id=row.get("event_id") or event_id(row["trace_id"], subject),
        subject=subject,
        place=POSTGRES,
        trace_id=row["trace_id"],
        correlation_id=row["correlation_id"],
        conversation_id=row["conversation_id"],
        occurred_at=rfc3339(created.timestamp()),
        stream=PIPELINE,
        sequence=row["stream_sequence"],
        rows=rows,
        facts={key: value for key, value in row.items() if key not in _UNTOLD},
    )


def _letter(row: tuple[Any, ...]) -> TracedEvent:
    stream, sequence, subject, identifier, trace_id, reason, deliveries, payload, created = row
    body = _body(payload)
    if _text(body, "trace_id") != trace_id:
        body = {"trace_id": trace_id, "occurred_at": rfc3339(created)}
    body = {**body, "event_id": identifier or _text(body, "event_id")}
    return event_from(
        body,
        subject,
        DEAD,
        stream=stream,
        sequence=sequence,
        rows={"dead_letters": 1},
        reason=f"{reason} (after {deliveries} deliveries)",
    )


def _body(payload: bytes) -> dict[str, Any]:
    """{} when it is not an object."""
    try:
        body = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""
