"""Reads pairs for a dataset, in the order of the stream.  Called by infra/datasets/export.py; it
writes nothing.

First the ids, through a server-side cursor; then the pairs themselves, a few at a time, each time
in a short transaction of its own: a dataset of millions must not hold a snapshot for minutes, the
server need not sort whole rows, and what is forgotten meanwhile is not found any more.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from appliance.domain.datasets.pair import ChatMessage, Context, Pair
from appliance.infra.postgres.pair_messages import (
    NotSayable,
    Sent,
    openai_calls,
    openai_messages,
    openai_tools,
)
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.writers.forgotten import digest

MOST_UTF8 = 4  # bytes a character
_BATCH = 100  # pairs; each has at most what a pair in the dataset may have, and one character
_KEYS_BATCH = 10_000
# Forgetting takes at most as long as `appliance forget` may; older tombstones have no rows.
_FORGETTING_S = 3600.0
_KEYS = """
SELECT trace_id FROM chat_pairs
WHERE (%(since)s::float8 IS NULL OR created_at >= to_timestamp(%(since)s::float8))
    AND (%(until)s::float8 IS NULL OR created_at < to_timestamp(%(until)s::float8))
ORDER BY stream_sequence, trace_id
"""
# What is not text.  A document may be: its text was taken for the prompt.
_MEDIA = """'$.content[*] ? (
    @.type == "image" || @.type == "image_url" || @.type == "input_image" || @.type == "audio"
    || @.type == "input_audio" || @.type == "video" || @.type == "video_url" || @.type == "file"
    || @.type == "input_file"
    || (@.type == "document" && @.source.type != "text" && @.source.type != "content"))'"""
_IN_RESULTS = _MEDIA.replace("$.content[*]", "$.content[*].content[*]")
_PAIRS = f"""
SELECT p.trace_id, p.correlation_id, p.conversation_id, p.created_at,
    left(p.prompt, %(prompt)s), left(p.response, %(response)s), p.tool_calls,
    p.model, p.backend, p.route, p.project, p.finish_reason, rated.rating,
    p.input_tokens, p.output_tokens, p.duration_s, p.time_to_first_token_s,
    answered.operation, answered.tools, asked.media, p.stream_sequence
FROM chat_pairs p
LEFT JOIN LATERAL (
    SELECT f.rating FROM feedback f
    WHERE f.trace_id = p.trace_id AND f.key_name = p.key_name
    ORDER BY f.created_at DESC, f.stream_sequence DESC, f.event_id LIMIT 1
) rated ON true
LEFT JOIN LATERAL (
    SELECT h.detail ->> 'operation' AS operation,
        CASE WHEN p.tool_calls IS NOT NULL OR %(conversation)s
            THEN h.detail -> 'params' -> 'tools' END AS tools
    FROM chat_history h WHERE h.trace_id = p.trace_id ORDER BY h.seq DESC LIMIT 1
) answered ON true
LEFT JOIN LATERAL (
    SELECT jsonb_path_exists(c.message, {_MEDIA}) AS media
    FROM chat_history h JOIN message_contents c ON c.hash = h.content_hash
    WHERE h.trace_id = p.trace_id AND h.role = 'user' ORDER BY h.seq DESC LIMIT 1
) asked ON true
WHERE p.trace_id = ANY(%(ids)s) ORDER BY p.stream_sequence, p.trace_id
"""
_SIZES = f"""
SELECT h.trace_id,
    sum(octet_length(c.content)) > %(most)s
        OR sum(coalesce(pg_column_size(c.message), 0)) > %(most)s,
    bool_or(coalesce(jsonb_path_exists(c.message, {_MEDIA}), false)
        OR coalesce(jsonb_path_exists(c.message, {_IN_RESULTS}), false))
FROM chat_history h JOIN message_contents c ON c.hash = h.content_hash
WHERE h.trace_id = ANY(%(ids)s) AND h.detail IS NULL GROUP BY h.trace_id
"""
_MESSAGES = """
SELECT h.trace_id, h.role, c.content, c.message
FROM chat_history h JOIN message_contents c ON c.hash = h.content_hash
WHERE h.trace_id = ANY(%(ids)s) AND h.detail IS NULL ORDER BY h.trace_id, h.seq
"""
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_FORGOTTEN = "SELECT digest, forgotten_at FROM forgotten WHERE forgotten_at >= to_timestamp(%s)"


class PairReader:
    """Pairs made from `since` on and before `until` (Unix seconds, None: no end), over `pool`.

    `context` says what stands before the response; of a text longer than `max_prompt_chars` or
    `max_response_chars` one character more than that is read.  Every method raises
    PartUnavailable(part="postgres").
    """

    def __init__(
        self,
        pool: PostgresPool,
        context: Context,
        *,
        max_prompt_chars: int,
        max_response_chars: int,
        since: float | None,
        until: float | None,
    ) -> None:
        self._pool = pool
        self._conversation = context == "conversation"
        self._limits = {"prompt": max_prompt_chars + 1, "response": max_response_chars + 1}
        self._most_bytes = MOST_UTF8 * max_prompt_chars
        self._range = {"since": since, "until": until}

    async def batches(self) -> AsyncIterator[list[Pair]]:
        """All of them, in the order of the stream; about 90 bytes of memory each besides."""
        ids = await self._ids()
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            yield await self._pairs(dict(zip(batch, range(start, start + _BATCH), strict=False)))

    async def now(self) -> float:
        """Unix seconds by the database's clock."""
        async with self._pool.transaction() as connection:
            ((now,),) = await (await connection.execute(_NOW)).fetchall()
        return float(now)

    async def forgotten(self, since: float) -> "Forgotten":
        """Whom somebody asked to forget since then, or shortly before: what of them had been read
        by then may be gone by now."""
        async with self._pool.transaction() as connection:
            found = await connection.execute(_FORGOTTEN, (since - _FORGETTING_S,))
            return Forgotten({bytes(name): at for name, at in await found.fetchall()})

    async def _ids(self) -> list[str]:
        ids: list[str] = []
        async with (
            self._pool.transaction() as connection,
            connection.cursor(name="dataset_pairs") as cursor,
        ):
            await cursor.execute(_KEYS, self._range)
            while rows := await cursor.fetchmany(_KEYS_BATCH):
                ids.extend(row[0] for row in rows)
        return ids

    async def _pairs(self, places: Mapping[str, int]) -> list[Pair]:
        """Those of these ids that are still there."""
        values = {"ids": list(places), "conversation": self._conversation, **self._limits}
        async with self._pool.transaction() as connection:
            rows = await (await connection.execute(_PAIRS.encode(), values)).fetchall()
            pairs = [_pair(row, places[row[0]]) for row in rows]
            if not self._conversation:
                return pairs
            return await self._with_messages(connection, pairs)

    async def _with_messages(self, connection: Connection, pairs: list[Pair]) -> list[Pair]:
        """What was sent instead of the prompt, where it is not longer than it may be."""
        values = {"ids": [pair.trace_id for pair in pairs], "most": self._most_bytes}
        sizes = await (await connection.execute(_SIZES.encode(), values)).fetchall()
        against = {trace: _against(long, media) for trace, long, media in sizes}
        values["ids"] = [trace for trace, obstacle in against.items() if not obstacle]
        sent: dict[str, list[Sent]] = {}
        for trace, *message in await (await connection.execute(_MESSAGES, values)).fetchall():
            sent.setdefault(trace, []).append((message[0], message[1], message[2]))
        return [
            _in_context(pair, sent.get(pair.trace_id, ()), against.get(pair.trace_id, ""))
            for pair in pairs
        ]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """When each id was forgotten, by its digest."""

    moments: Mapping[bytes, datetime]

    def covers(self, pair: Pair) -> bool:
        """Whether it was asked before one of its ids was forgotten; what was asked under it later
        is kept."""
        if not self.moments:
            return False
        ids = (pair.trace_id, pair.correlation_id, pair.conversation_id)
        moments = (self.moments.get(digest(name)) for name in ids)
        return any(at is not None and pair.created_at <= at for at in moments)


def _pair(row: tuple[Any, ...], place: int) -> Pair:
    trace_id, correlation_id, conversation_id, created_at, prompt, response, calls = row[:7]
    model, backend, route, project, finish_reason, rating = row[7:13]
    operation, tools, media, sequence = row[17:]
    try:
        tool_calls, obstacle = openai_calls(calls), "media" if media else ""
    except NotSayable:
        tool_calls, obstacle = (), "unsupported"
    messages: tuple[ChatMessage, ...] = ({"role": "user", "content": prompt},)
    return Pair(
        trace_id=trace_id,
        correlation_id=correlation_id,
        conversation_id=conversation_id,
        created_at=created_at,
        messages=messages,
        prompt=prompt,
        response=response,
        tool_calls=tool_calls,
        tools=openai_tools(tools),
        model=model,
        backend=backend,
        route=route,
        project=project,
        finish_reason=finish_reason,
        rating=rating,
        input_tokens=row[13],
        output_tokens=row[14],
        duration_s=row[15],
        time_to_first_token_s=row[16],
        obstacle="completion" if operation == "text_completion" else obstacle,
        sequence=sequence,
        place=place,
    )


def _against(long: bool, media: bool) -> str:
    return "media" if media else "prompt_length" if long else ""


def _in_context(pair: Pair, sent: Sequence[Sent], against: str) -> Pair:
    if pair.obstacle in ("completion", "unsupported"):
        return pair
    if not sent:
        return replace(pair, obstacle=against or "no_messages")
    try:
        messages = openai_messages(sent)
    except NotSayable:
        return replace(pair, obstacle="unsupported")
    used = bool(pair.tool_calls) or any("tool_calls" in message for message in messages)
    return replace(pair, messages=messages, tools=pair.tools if used else ())
