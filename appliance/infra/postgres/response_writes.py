"""How rows of `api_responses` are written: any number in one statement.  Under `responses.py`."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.domain.responses.record import NewResponse, Status
from appliance.infra.postgres.locks import hold_shared
from appliance.infra.postgres.payload import json_text, storable_text
from appliance.infra.postgres.pool import Connection
from appliance.infra.postgres.writers.forgotten import digest

# Under an id that somebody asked to forget meanwhile nothing is made any more.  Bytes are no JSON:
# they come beside it.
_INSERT = """
INSERT INTO api_responses (id, trace_id, correlation_id, conversation_id, key_name, status, model,
    background, previous_response_id, resource, input_items, events, lease_until, created_at)
SELECT id, trace_id, correlation_id, conversation_id, key_name, status, model, background,
    previous_response_id, resource, input_items, events,
    now() + make_interval(secs => lease_s), to_timestamp(created_at)
FROM ROWS FROM (
    json_to_recordset(%(facts)s::json) AS (id text, trace_id text, correlation_id text,
        conversation_id text, key_name text, status text, model text, background boolean,
        previous_response_id text, created_at float8, lease_s float8, digests bytea[]),
    unnest(%(resources)b::bytea[], %(input_items)b::bytea[], %(events)b::bytea[])
) AS new (id, trace_id, correlation_id, conversation_id, key_name, status, model, background,
    previous_response_id, created_at, lease_s, digests, resource, input_items, events)
WHERE NOT EXISTS (SELECT FROM forgotten WHERE digest = ANY(new.digests)
    AND forgotten_at >= to_timestamp(new.created_at))
"""
# A row that is there already is the caller's own: an answer of the database was lost, and this is
# the second attempt.
CREATE = f"{_INSERT} ON CONFLICT (id) DO NOTHING"
KEEP = f"""{_INSERT} ON CONFLICT (id) DO UPDATE SET status = excluded.status,
    model = excluded.model, resource = excluded.resource, events = excluded.events,
    lease_until = NULL WHERE api_responses.lease_until IS NOT NULL
"""
# One that somebody else holds, frozen perhaps, must not keep the others waiting.
_FINISH = """
WITH free AS (SELECT id FROM api_responses
    WHERE id = ANY(%(ids)s::text[]) AND lease_until IS NOT NULL FOR UPDATE SKIP LOCKED)
UPDATE api_responses AS live SET status = new.status, resource = new.resource,
    events = new.events, lease_until = NULL
FROM free, unnest(%(ids)s::text[], %(statuses)s::text[], %(resources)b::bytea[],
    %(events)b::bytea[]) WITH ORDINALITY AS new (id, status, resource, events, place)
WHERE free.id = live.id AND new.id = live.id RETURNING new.place
"""
# The same resource again: the answer to the first attempt was lost.
_FINISH_ONE = """
UPDATE api_responses SET status = %(status)s, resource = %(resource)s, events = %(events)s,
    lease_until = NULL
WHERE id = %(id)s AND (lease_until IS NOT NULL OR resource = %(resource)s)
"""
_TEXTS = (
    "id",
    "trace_id",
    "correlation_id",
    "conversation_id",
    "key_name",
    "status",
    "model",
    "previous_response_id",
)
_IDS = ("id", "trace_id", "correlation_id", "conversation_id")


@dataclass(frozen=True, slots=True)
class Made:
    """A row to be inserted; `events` are deflated, `lease_s` is None for one that is whole."""

    new: NewResponse
    events: bytes = b""
    lease_s: float | None = None

    @property
    def size_bytes(self) -> int:
        """What is large of it."""
        return len(self.new.resource) + len(self.new.input_items) + len(self.events)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a live row becomes; `events` are deflated."""

    id: str
    status: Status
    resource: bytes
    events: bytes

    @property
    def size_bytes(self) -> int:
        """What is large of it."""
        return len(self.resource) + len(self.events)


async def insert(connection: Connection, statement: str, made: Sequence[Made]) -> None:
    """`statement` is CREATE or KEEP."""
    values = {
        "facts": json_text([_facts(each) for each in made]),
        "resources": [each.new.resource for each in made],
        "input_items": [each.new.input_items for each in made],
        "events": [each.events for each in made],
    }
    async with connection.pipeline():
        await hold_shared(connection)  # `forget` is through, or waits for these rows
        await connection.execute(statement.encode(), values)


async def finish(connection: Connection, finished: Sequence[Finished]) -> list[bool]:
    """Of each, whether it was live, free, and is whole now."""
    values = {
        "ids": [each.id for each in finished],
        "statuses": [each.status for each in finished],
        "resources": [each.resource for each in finished],
        "events": [each.events for each in finished],
    }
    cursor = await connection.execute(_FINISH.encode(), values)
    places = {place for (place,) in await cursor.fetchall()}
    return [place in places for place in range(1, len(finished) + 1)]


async def finish_one(connection: Connection, one: Finished) -> bool:
    """Wait for whoever holds it; True again for the same `resource`."""
    values = {
        "id": one.id,
        "status": one.status,
        "resource": one.resource,
        "events": one.events,
    }
    return (await connection.execute(_FINISH_ONE.encode(), values)).rowcount > 0


def _facts(made: Made) -> dict[str, object]:
    new = made.new
    facts: dict[str, object] = {name: storable_text(getattr(new, name)) for name in _TEXTS}
    facts["background"], facts["created_at"] = new.background, new.created_at
    facts["lease_s"] = made.lease_s
    facts["digests"] = [rf"\x{digest(getattr(new, name)).hex()}" for name in _IDS]
    return facts
