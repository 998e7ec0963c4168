"""Keeps messages that cannot be written, as they are, with the reason.  Called by every writer;
reading them back is not its job."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.domain.events.delivery import Delivery, Rejected
from appliance.infra.mentions import ids_of, rated_in
from appliance.infra.postgres.payload import Envelope, storable_text
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers.forgotten import Forgotten

_INSERT = """
INSERT INTO dead_letters (stream, stream_sequence, subject, event_id, trace_id, reason, deliveries,
    payload, payload_digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_MOST_ID = 256  # anybody may have published it: an index takes no entry of more than 2704 bytes
MOST_REASON = 4000
_envelope = msgspec.json.Decoder(Envelope)


async def bury(pool: PostgresPool, rejected: Sequence[Rejected]) -> None:
    """One row each; one that is there already stays, and what somebody asked to forget is not
    kept.  Raises PartUnavailable."""
    ids = {name for each in rejected for name in _ids(each.delivery)}
    async with pool.transaction() as connection, connection.cursor() as cursor:
        forgotten = await Forgotten.among(connection, ids)
        kept = [_row(each) for each in rejected if not _is_gone(each.delivery, forgotten)]
        await cursor.executemany(_INSERT, kept)


def _is_gone(delivery: Delivery, forgotten: Forgotten) -> bool:
    """As a writer would decide; of what does not tell when it was asked, whenever that was."""
    if not forgotten:
        return False
    try:
        covered = forgotten.covers(_envelope.decode(delivery.data))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return any(map(forgotten.names, _ids(delivery)))
    return covered or any(map(forgotten.names, (_trace_id(delivery), rated_in(delivery.data))))


def _ids(delivery: Delivery) -> set[str]:
    return {_trace_id(delivery), *ids_of(delivery.data)}


def _trace_id(delivery: Delivery) -> str:
    return storable_text(delivery.event_id.partition(":")[0])[:_MOST_ID]


def _row(rejected: Rejected) -> tuple[Any, ...]:
    delivery = rejected.delivery
    return (
        delivery.stream,
        delivery.sequence,
        storable_text(delivery.subject),
        storable_text(delivery.event_id)[:_MOST_ID],
        _trace_id(delivery),
        storable_text(rejected.reason)[:MOST_REASON],
        delivery.deliveries,
        delivery.data,
        hashlib.sha256(delivery.data).digest(),
    )
