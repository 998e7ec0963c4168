"""Takes everything under an id out of PostgreSQL, for good.  For `appliance forget`.

First the id goes into `forgotten`, alone: from then on no writer makes a row of what was asked
under it before, whatever is still in a spool or comes by replay.  Then its rows go, all in one
transaction; a kill between the two leaves rows behind, and forgetting again takes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.domain.events.durables import DURABLES
from appliance.infra.mentions import Mentions
from appliance.infra.postgres.locks import hold_alone
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.writers.forgotten import digest

# Each with the column that says which exchange a row is of.
_OWN: Mapping[str, str] = {
    table: durable.own for durable in DURABLES.values() for table in durable.tables
}
TABLES = tuple(_OWN)
RESPONSES = "api_responses"
CONTENTS = "message_contents"
LETTERS = "dead_letters"
RESULTS = "results in tool_calls of others"
# Two of the indices of chat_history are of the rows with a `detail`, one an exchange.
_UNDER = "SELECT {own} FROM {table} WHERE {own} = %(id)s OR correlation_id = %(id)s OR "
_UNDER += "conversation_id = %(id)s"
_UNDER_IN = {
    "chat_history": (
        "SELECT trace_id FROM chat_history WHERE trace_id = %(id)s"
        " OR (detail IS NOT NULL AND correlation_id = %(id)s)"
        " OR (detail IS NOT NULL AND conversation_id = %(id)s)"
    ),
}
_TRACES = " UNION ".join(
    _UNDER_IN.get(table, _UNDER.format(table=table, own=own))
    for table, own in {**_OWN, RESPONSES: "trace_id"}.items()
)
# What was said of an exchange goes with it; the request that brought it is one of its own.
_FEEDBACK = "SELECT feedback_trace_id FROM feedback WHERE trace_id = ANY(%s)"
_BAR = "INSERT INTO forgotten (digest) SELECT unnest(%s::bytea[])"
_BAR += " ON CONFLICT (digest) DO UPDATE SET forgotten_at = excluded.forgotten_at"
_BAR += " RETURNING extract(epoch FROM forgotten_at)::float8"
_BARRED = "SELECT digest FROM forgotten WHERE digest = ANY(%s)"
_HISTORY = """
WITH gone AS (DELETE FROM chat_history WHERE trace_id = ANY(%s) RETURNING content_hash)
SELECT content_hash, count(*) FROM gone GROUP BY content_hash
"""
_ORPHANS = """
DELETE FROM message_contents c WHERE c.hash = ANY(%s)
    AND NOT EXISTS (SELECT FROM chat_history h WHERE h.content_hash = c.hash)
"""
_RESULTS = """
UPDATE tool_calls
SET result = NULL, result_is_error = NULL, result_trace_id = NULL, result_at = NULL
WHERE result_trace_id = ANY(%s)
"""
# A live one goes, too: whoever produces it finds no row to make whole any more.
_RESPONSES_OF = f"{RESPONSES} WHERE trace_id = ANY(%s)"
_RESULTS_OF = "tool_calls WHERE result_trace_id = ANY(%s) AND trace_id <> ALL(%s)"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """`rows` by table, in the order they went; `traces` are the exchanges of it that had rows,
    `sequences` where PIPELINE had them; what was asked after `at`, Unix seconds, is kept."""

    traces: frozenset[str]
    rows: Mapping[str, int] = field(default_factory=dict)
    sequences: Sequence[int] = ()
    at: float = 0.0


async def forgotten_among(pool: PostgresPool, identifiers: Iterable[str]) -> set[str]:
    """Those of `identifiers` somebody asked to forget.  Raises PartUnavailable."""
    digests = {digest(identifier): identifier for identifier in identifiers}
    async with pool.transaction() as connection:
        found = await (await connection.execute(_BARRED, (list(digests),))).fetchall()
    return {digests[bytes(row[0])] for row in found}


async def look(pool: PostgresPool, identifier: str) -> Forgotten:
    """What `forget` would take; contents are not counted.  Raises PartUnavailable."""
    async with pool.transaction() as connection:
        traces = await _traces(connection, identifier)
        rows = {}
        for table in TABLES:
            rows[table] = await _count(connection, f"{table} WHERE {_OWN[table]} = ANY(%s)", traces)
        rows[RESPONSES] = await _count(connection, _RESPONSES_OF, traces)
        rows[RESULTS] = await _count(connection, _RESULTS_OF, traces)
        rows[LETTERS] = len(await _letters(connection, identifier, traces))
    return Forgotten(frozenset(traces), rows)


async def forget(pool: PostgresPool, identifier: str) -> Forgotten:
    """Take it all.  Doing so again changes nothing.  Raises PartUnavailable."""
    async with pool.transaction() as connection:
        await hold_alone(connection)  # batches under way are through, later ones see the id
        barred = await connection.execute(_BAR, ([digest(identifier)],))
        ((at,),) = await barred.fetchall()
    async with pool.transaction() as connection:
        traces = await _traces(connection, identifier)
        letters = await _letters(connection, identifier, traces)
        sequences = await _sequences(connection, traces)
        # The search may take long, and writers need not wait for it: no row of it comes any more.
        await hold_alone(connection)
        await connection.execute(_BAR, ([digest(trace) for trace in sorted(traces)],))
        rows = await _remove(connection, sorted(traces))
        gone = await connection.execute("DELETE FROM dead_letters WHERE id = ANY(%s)", (letters,))
        rows[LETTERS] = gone.rowcount
    return Forgotten(frozenset(traces), rows, sequences, at)


async def _remove(connection: Connection, traces: list[str]) -> dict[str, int]:
    rows = {}
    hashes = await (await connection.execute(_HISTORY, (traces,))).fetchall()
    rows["chat_history"] = sum(row[1] for row in hashes)
    orphans = await connection.execute(_ORPHANS, ([row[0] for row in hashes],))
    rows[CONTENTS] = orphans.rowcount
    for table in TABLES:
        if table != "chat_history":
            statement = f"DELETE FROM {table} WHERE {_OWN[table]} = ANY(%s)"
            rows[table] = (await connection.execute(statement.encode(), (traces,))).rowcount
    gone = await connection.execute(f"DELETE FROM {_RESPONSES_OF}".encode(), (traces,))
    rows[RESPONSES] = gone.rowcount
    rows[RESULTS] = (await connection.execute(_RESULTS, (traces,))).rowcount
    return rows


async def _traces(connection: Connection, identifier: str) -> set[str]:
    found = await connection.execute(_TRACES.encode(), {"id": identifier})
    traces = {row[0] for row in await found.fetchall()}
    rating = await connection.execute(_FEEDBACK, (sorted({identifier, *traces}),))
    return traces | {row[0] for row in await rating.fetchall()}


async def _letters(connection: Connection, identifier: str, traces: set[str]) -> list[int]:
    """Dead letters of it: what could not be written may name no id but in its payload."""
    concerns = Mentions(identifier)
    known = {identifier, *traces}
    found = await connection.execute(
        "SELECT id, trace_id FROM dead_letters"
        " WHERE trace_id = ANY(%s) OR position(%s in payload) > 0 ORDER BY id",
        (sorted(known), concerns.quoted),
    )
    return [
        letter
        for letter, trace_id in await found.fetchall()
        if trace_id in known or concerns(await _payload(connection, letter))
    ]


async def _payload(connection: Connection, letter: int) -> bytes:
    found = await connection.execute("SELECT payload FROM dead_letters WHERE id = %s", (letter,))
    row = await found.fetchone()
    return bytes(row[0]) if row else b""


async def _sequences(connection: Connection, traces: set[str]) -> list[int]:
    selects = (
        f"SELECT stream_sequence FROM {table} WHERE {own} = ANY(%(traces)s)"
        for table, own in _OWN.items()
    )
    found = await connection.execute(" UNION ".join(selects).encode(), {"traces": sorted(traces)})
    return sorted(row[0] for row in await found.fetchall())


async def _count(connection: Connection, where: str, traces: set[str]) -> int:
    values = [sorted(traces)] * where.count("%s")
    found = await connection.execute(f"SELECT count(*) FROM {where}".encode(), values)
    row = await found.fetchone()
    return int(row[0]) if row else 0
