"""Keeps messages that cannot be written, as they are, with the reason.  Called by every writer;
reading them back is not its job."""

import hashlib
from collections.abc import Sequence
from typing import Any

from appliance.domain.events.delivery import Rejected
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers.forgotten import Forgotten

_INSERT = """
INSERT INTO dead_letters (stream, stream_sequence, subject, event_id, trace_id, reason, deliveries,
    payload, payload_digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_TRACE_ID = 4  # its place in a row
_MOST_ID = 256  # anybody may have published it: an index takes no entry of more than 2704 bytes
_MOST_REASON = 4000


async def bury(pool: PostgresPool, rejected: Sequence[Rejected]) -> None:
    """One row each; one that is there already stays, and one of an exchange that was forgotten is
    not kept.  Raises PartUnavailable."""
    letters = [_row(each) for each in rejected]
    async with pool.transaction() as connection, connection.cursor() as cursor:
        forgotten = await Forgotten.among(connection, {row[_TRACE_ID] for row in letters})
        kept = [row for row in letters if not forgotten.names(row[_TRACE_ID])]
        await cursor.executemany(_INSERT, kept)


def _row(rejected: Rejected) -> tuple[Any, ...]:
    delivery = rejected.delivery
    return (
        delivery.stream,
        delivery.sequence,
        _text(delivery.subject),
        _text(delivery.event_id)[:_MOST_ID],
        _text(delivery.event_id.partition(":")[0])[:_MOST_ID],
        _text(rejected.reason)[:_MOST_REASON],
        delivery.deliveries,
        delivery.data,
        hashlib.sha256(delivery.data).digest(),
    )


def _text(value: str) -> str:
    """As PostgreSQL takes it: neither NUL nor half a surrogate pair."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
