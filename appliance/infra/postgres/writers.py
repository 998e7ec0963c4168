"""Writes batches of pipeline events into their tables, each exactly once in effect.

One module, whoever drives it: the consumer role today.  A batch is a handful of statements over
arrays in one transaction and one round trip; repeating it changes nothing (`ON CONFLICT DO NOTHING`
on `trace_id`). A batch PostgreSQL refuses is halved until the message at fault stands alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected, Written
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.rows import ChatEvent, ChatRows, decode

_CONTENTS = """
INSERT INTO message_contents (hash, content, message)
SELECT hash, content, message::jsonb
FROM unnest(%b::bytea[], %b::text[], %b::text[]) AS new (hash, content, message)
ON CONFLICT DO NOTHING
"""
_HISTORY = """
INSERT INTO chat_history (trace_id, seq, role, content_hash, status, finish_reason, correlation_id,
    conversation_id, stream_sequence, detail, created_at)
SELECT trace_id, seq, role, content_hash, status, finish_reason, correlation_id,
    conversation_id, stream_sequence, detail::jsonb, created_at::timestamptz
FROM unnest(%b::text[], %b::int[], %b::text[], %b::bytea[], %b::text[], %b::text[], %b::text[],
    %b::text[], %b::bigint[], %b::text[], %b::text[])
    AS new (trace_id, seq, role, content_hash, status, finish_reason, correlation_id,
    conversation_id, stream_sequence, detail, created_at)
ON CONFLICT DO NOTHING
"""
_PAIRS = """
INSERT INTO chat_pairs (trace_id, correlation_id, conversation_id, prompt, response, model, backend,
    route, input_tokens, output_tokens, finish_reason, tool_calls, project, duration_s,
    time_to_first_token_s, retrieval, stream_sequence, created_at)
SELECT trace_id, correlation_id, conversation_id, prompt, response, model, backend,
    route, input_tokens, output_tokens, finish_reason, tool_calls::jsonb, project, duration_s,
    time_to_first_token_s, retrieval::jsonb, stream_sequence, created_at::timestamptz
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
    %b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::float8[],
    %b::float8[], %b::text[], %b::bigint[], %b::text[])
    AS new (trace_id, correlation_id, conversation_id, prompt, response, model, backend,
    route, input_tokens, output_tokens, finish_reason, tool_calls, project, duration_s,
    time_to_first_token_s, retrieval, stream_sequence, created_at)
ON CONFLICT DO NOTHING
"""
_DEAD = """
INSERT INTO dead_letters (stream, stream_sequence, subject, event_id, trace_id, reason, deliveries,
    payload, payload_digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class ChatWriter:
    """`pipeline.knowledge.chat.persist` into chat_history, message_contents and chat_pairs."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def write(self, batch: Sequence[Delivery]) -> Written:
        """See BatchWriter.write."""
        events: list[tuple[Delivery, ChatEvent]] = []
        rejected: list[Rejected] = []
        for delivery in batch:
            try:
                events.append((delivery, decode(delivery)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                rejected.append(Rejected(delivery, f"not a chat event: {exc}", final=True))
        return Written(rejected=rejected + await self._write(events))

    async def bury(self, rejected: Sequence[Rejected]) -> None:
        """See BatchWriter.bury."""
        async with self._pool.transaction() as connection, connection.cursor() as cursor:
            await cursor.executemany(_DEAD, [_dead_letter(r) for r in rejected])

    async def _write(self, events: Sequence[tuple[Delivery, ChatEvent]]) -> list[Rejected]:
        if not events:
            return []
        try:
            await self._insert(events)
        except (psycopg.Error, PartUnavailable, UnicodeEncodeError) as exc:
            reason = _fault(exc)
            if reason is None:
                raise
            if len(events) == 1:
                return [Rejected(events[0][0], reason, final=False)]
            middle = len(events) // 2
            return await self._write(events[:middle]) + await self._write(events[middle:])
        return []

    async def _insert(self, events: Sequence[tuple[Delivery, ChatEvent]]) -> None:
        rows = ChatRows()
        for delivery, event in events:
            rows.add(event, delivery.sequence)
        # Two consumers that insert the same hashes in different orders would wait for each other.
        contents = sorted(rows.contents.values(), key=lambda row: row[0])
        async with self._pool.transaction() as connection, connection.pipeline():
            await connection.execute(_CONTENTS, _columns(contents))
            await connection.execute(_HISTORY, _columns(sorted(rows.history, key=_by_trace)))
            if rows.pairs:
                await connection.execute(_PAIRS, _columns(sorted(rows.pairs, key=_by_trace)))


WRITERS: Mapping[str, type[ChatWriter]] = {PERSIST: ChatWriter}


def writer_for(subject: str, pool: PostgresPool) -> BatchWriter:
    """The writer of `subject`, over `pool`."""
    return WRITERS[subject](pool)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _by_trace(row: tuple[Any, ...]) -> str:
    return str(row[0])


def _fault(exc: Exception) -> str | None:
    """Why the rows themselves are at fault; None when PostgreSQL is."""
    if not isinstance(exc, PartUnavailable):
        return f"{type(exc).__name__}: {exc}"
    # "Program limit exceeded" (an index entry or a value too long) counts as operational in
    # psycopg.
    cause = exc.__cause__
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    return str(exc) if state is not None and state.startswith("54") else None


def _dead_letter(rejected: Rejected) -> tuple[Any, ...]:
    delivery = rejected.delivery
    return (
        delivery.stream,
        delivery.sequence,
        delivery.subject,
        delivery.event_id.replace("\0", ""),
        delivery.event_id.partition(":")[0].replace("\0", ""),
        rejected.reason.replace("\0", "\ufffd"),
        delivery.deliveries,
        delivery.data,
        hashlib.sha256(delivery.data).digest(),
    )
