"""`pipeline.knowledge.tool_call` into tool_calls and tool_results, each result put to its call."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from appliance.domain.events.delivery import Delivery
from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.pool import Connection
from appliance.infra.postgres.writers.base import Events, EventWriter
from appliance.infra.postgres.writers.linking import Call, Result, call_key, id_key, links
from appliance.infra.postgres.writers.table import EventTable, Row, Table

_SHARED = {
    "call_id": "text",
    "name": "text",
    "arguments": "text",
    "id_key": "bytea",
    "call_key": "bytea",
    "project": "text",
    "key_name": "text",
}
CALLS = EventTable(
    "tool_calls",
    {
        **_SHARED,
        "call_index": "int",
        "request_model": "text",
        "model": "text",
        "backend": "text",
        "status": "text",
    },
)
RESULTS = EventTable("tool_results", {**_SHARED, "content": "text", "is_error": "boolean"})

# Beside those of a batch, how many calls and how many results with the same id are looked at: most
# servers never repeat an id, some call every first call `call_0`.
_LOOK_BACK = 200

# One consumer at a time from here to its commit: two that each have half of a pair would both find
# the other half missing.
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_LOCK_KEY = 0x61_70_70_74  # any number, the same in every release
_CALLS = """
SELECT c.* FROM unnest(%b::bytea[], %b::int[]) AS asked (key, most)
CROSS JOIN LATERAL (
    SELECT event_id, trace_id, id_key, call_key, name, call_index, stream_sequence,
        extract(epoch FROM created_at)::float8, result_trace_id IS NOT NULL
    FROM tool_calls WHERE id_key = asked.key ORDER BY stream_sequence DESC LIMIT asked.most
) AS c
"""
_RESULTS = """
SELECT r.* FROM unnest(%b::bytea[], %b::int[]) AS asked (key, most)
CROSS JOIN LATERAL (
    SELECT event_id, trace_id, id_key, call_key, name,
        arguments = '' AND (call_id <> '' OR name <> ''), stream_sequence,
        extract(epoch FROM created_at)::float8, call_event_id
    FROM tool_results WHERE id_key = asked.key ORDER BY stream_sequence DESC LIMIT asked.most
) AS r
"""
_PUT_RESULTS = """
UPDATE tool_results SET call_event_id = new.call
FROM unnest(%b::text[], %b::text[]) AS new (result, call) WHERE event_id = new.result
"""
_PUT_CALLS = """
UPDATE tool_calls SET result = r.content, result_is_error = r.is_error,
    result_trace_id = r.trace_id, result_at = r.created_at
FROM unnest(%b::text[], %b::text[]) AS new (call, result)
LEFT JOIN tool_results AS r ON r.event_id = new.result
WHERE tool_calls.event_id = new.call
"""


class ToolCallEvent(Envelope, kw_only=True):
    """As domain.events.tool_call.ToolCall makes it; `content` and `is_error` are a result's, the
    index and the status a call's."""

    kind: Literal["call", "result"]
    call_id: str = msgspec.field(name="gen_ai.tool.call.id")
    name: str = msgspec.field(name="gen_ai.tool.name")
    arguments: str = msgspec.field(name="gen_ai.tool.call.arguments")
    call_index: int = 0
    content: str = msgspec.field(name="gen_ai.tool.call.result", default="")
    is_error: bool = False
    request_model: str = msgspec.field(name="gen_ai.request.model")
    model: str = msgspec.field(name="gen_ai.response.model")
    backend: str
    project: str
    key_name: str
    status: str

    @property
    def id_key(self) -> bytes:
        """See linking.id_key."""
        return id_key(self.key_name, self.call_id)

    @property
    def call_key(self) -> bytes:
        """See linking.call_key."""
        return call_key(self.key_name, self.call_id, self.name, self.arguments)


_decoder = msgspec.json.Decoder(ToolCallEvent)


class ToolCallWriter(EventWriter[ToolCallEvent]):
    """A row a call or a result; `settle` puts them together."""

    def decode(self, data: bytes) -> ToolCallEvent:
        """See EventWriter.decode."""
        return _decoder.decode(data)

    def rows(self, events: Events[ToolCallEvent]) -> list[tuple[Table, list[Row]]]:
        """See EventWriter.rows."""
        return [
            (CALLS, CALLS.rows(_of_kind("call", events))),
            (RESULTS, RESULTS.rows(_of_kind("result", events))),
        ]

    async def settle(self, connection: Connection, events: Events[ToolCallEvent]) -> None:
        """Link what the new rows change among those with their ids."""
        asked = Counter(event.id_key for _, event in events)
        if not asked:
            return
        wanted = [list(asked), [_LOOK_BACK + count for count in asked.values()]]
        async with connection.pipeline():
            await connection.execute(_LOCK, (_LOCK_KEY,))
            found_calls = await connection.execute(_CALLS, wanted)
            found_results = await connection.execute(_RESULTS, wanted)
        calls = [Call(*row) for row in await found_calls.fetchall()]
        results = [Result(*row) for row in await found_results.fetchall()]
        was = {result.event_id: result.call_event_id for result in results}
        changed = {r: c for r, c in links(calls, results).items() if c != was[r]}
        if not changed:
            return
        by_call = _by_call(was, changed)
        async with connection.pipeline():
            await connection.execute(_PUT_RESULTS, [list(changed), list(changed.values())])
            await connection.execute(_PUT_CALLS, [list(by_call), list(by_call.values())])


def _by_call(
    was: Mapping[str, str | None], changed: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The result of every call that changes, None for one that is open again."""
    by_call: dict[str, str | None] = {call: None for r in changed if (call := was[r]) is not None}
    by_call.update({call: result for result, call in changed.items() if call is not None})
    return by_call


def _of_kind(
    kind: Literal["call", "result"], events: Events[ToolCallEvent]
) -> Sequence[tuple[Delivery, ToolCallEvent]]:
    return [(delivery, event) for delivery, event in events if event.kind == kind]
