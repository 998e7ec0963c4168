"""Which events a Dagster run handled, by their places in the stream.  Written by the pipelines
after each batch, read by `appliance trace` and by the assets that come later in a run.

A row says which sequences of a subject an asset of a run covered, never which exchanges: these are
found by the sequences of their rows, so that what was forgotten is in no run any more.  What is
made of pairs has PAIRS for a subject: chats that came to none lie between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg import sql

from appliance.domain.events.durables import DURABLES
from appliance.infra.postgres.pool import PostgresPool

PAIRS = "chat_pairs"  # the table, and the subject of what is made of its rows
MOST_RUNS = 200  # of the exchanges asked for, the latest
_ROUNDED = timedelta(seconds=1)  # a row and a run need not round a time alike
_RECORD = """
INSERT INTO pipeline_runs (run_id, asset, job, subject, sequences, oldest, newest, events, inserted,
    offered, began_at)
VALUES (%(run_id)s, %(asset)s, %(job)s, %(subject)s, %(sequences)s::int8multirange,
    %(oldest)s::timestamptz, %(newest)s::timestamptz, %(events)s, %(inserted)s, %(offered)s,
    to_timestamp(%(began_at)s))
ON CONFLICT (run_id, asset, subject) DO UPDATE SET
    sequences = pipeline_runs.sequences + excluded.sequences,
    oldest = least(pipeline_runs.oldest, excluded.oldest),
    newest = greatest(pipeline_runs.newest, excluded.newest),
    events = pipeline_runs.events + excluded.events,
    inserted = pipeline_runs.inserted + excluded.inserted,
    offered = pipeline_runs.offered + excluded.offered,
    began_at = least(pipeline_runs.began_at, excluded.began_at),
    created_at = excluded.created_at
"""
_PLACES = """
SELECT {own} AS trace_id, {subject} AS subject, stream_sequence, created_at FROM {table}
WHERE {own} = ANY(%(ids)s)
"""
# OFFSET 0 keeps the planner from making a join of it that reads all runs: so each place asks the
# GiST index of `sequences` for its own.
_RUNS = """
SELECT p.trace_id, r.run_id, r.job, r.asset, r.subject, r.events, r.inserted, r.offered,
    extract(epoch FROM r.began_at)::float8, extract(epoch FROM r.created_at)::float8
FROM ({places}) AS p CROSS JOIN LATERAL (
    SELECT * FROM pipeline_runs
    WHERE subject = p.subject AND sequences @> p.stream_sequence
        AND p.created_at BETWEEN oldest AND newest
    OFFSET 0
) AS r
GROUP BY p.trace_id, r.run_id, r.job, r.asset, r.subject, r.events, r.inserted, r.offered,
    r.began_at, r.created_at
ORDER BY r.began_at DESC, r.run_id, r.asset, r.subject, p.trace_id LIMIT %(most)s
"""
_COVERED = """
SELECT max(events), min(oldest)::text, max(newest)::text FROM pipeline_runs
WHERE run_id = %s AND subject = %s AND asset <> %s HAVING count(*) > 0
"""
_RANGES = """
SELECT lower(r), upper(r) - 1 FROM unnest((
    SELECT range_agg(sequences) FROM pipeline_runs
    WHERE run_id = %s AND subject = %s AND asset <> %s)) AS r
"""


@dataclass(frozen=True, slots=True)
class RunPart:
    """What one asset of a run handles of a subject, or of PAIRS; `began_at` is the run's, Unix
    seconds."""

    run_id: str
    job: str
    asset: str
    subject: str
    began_at: float


@dataclass(frozen=True, slots=True)
class RunRow:
    """A part of a run that an exchange took part in.  The counts are the whole batch's: `inserted`
    of `offered` rows were not there before; times are Unix seconds."""

    trace_id: str
    run_id: str
    job: str
    asset: str
    subject: str
    events: int
    inserted: int
    offered: int
    began_at: float
    recorded_at: float  # when the last of it was committed


@dataclass(frozen=True, slots=True)
class Covered:
    """What the assets of a run have handled of a subject: inclusive `ranges` of sequences, how many
    events these were, and when they occurred, as PostgreSQL writes times."""

    ranges: list[tuple[int, int]]
    events: int
    occurred: tuple[str, str] | None


async def record(
    pool: PostgresPool,
    part: RunPart,
    drained_sequences: Sequence[tuple[int, int]],
    *,
    events: int,
    inserted: int,
    offered: int,
    occurred: tuple[str, str] | None = None,
) -> None:
    """Add what a batch was to the row of `part`: inclusive ranges of sequences, counts, and the
    least and the greatest `occurred_at` of its events.

    These are ISO 8601; what nobody can read counts as not told, since an event may say anything.
    A batch that is told twice counts twice, and covers what it covered.  No ranges, no row.
    Raises PartUnavailable(part="postgres").
    """
    if not drained_sequences:
        return
    oldest, newest = occurred or ("", "")
    values = {
        "run_id": part.run_id,
        "asset": part.asset,
        "job": part.job,
        "subject": part.subject,
        "sequences": _multirange(drained_sequences),
        "oldest": _moment(oldest, -_ROUNDED) or "-infinity",
        "newest": _moment(newest, _ROUNDED) or "infinity",
        "events": events,
        "inserted": inserted,
        "offered": offered,
        "began_at": part.began_at,
    }
    async with pool.transaction() as connection:
        await connection.execute(_RECORD, values)


async def covered(pool: PostgresPool, run_id: str, subject: str, *, but: str) -> Covered:
    """By all assets of the run, `but` one.  Raises PartUnavailable(part="postgres")."""
    which = (run_id, subject, but)
    async with pool.transaction() as connection:
        ranges = await (await connection.execute(_RANGES, which)).fetchall()
        told = await (await connection.execute(_COVERED, which)).fetchone()
    events, oldest, newest = told or (0, None, None)
    return Covered(
        [(int(first), int(last)) for first, last in ranges],
        int(events),
        (oldest, newest) if told else None,
    )


async def runs_of(pool: PostgresPool, trace_ids: Sequence[str]) -> list[RunRow]:
    """Every part of a run that handled a row of one of `trace_ids`, latest run first, MOST_RUNS at
    most.  Raises PartUnavailable(part="postgres")."""
    values = {"ids": list(trace_ids), "most": MOST_RUNS}
    async with pool.transaction() as connection:
        found = await connection.execute(query(), values)
        return [RunRow(*row) for row in await found.fetchall()]


def query() -> sql.Composed:
    """The statement of `runs_of`; its parameters are `ids` and `most`."""
    kept = [
        (durable.own, durable.subject, table)
        for durable in DURABLES.values()
        for table in durable.tables
    ]
    places = [
        sql.SQL(_PLACES).format(
            own=sql.Identifier(own), subject=sql.Literal(subject), table=sql.Identifier(table)
        )
        for own, subject, table in (*kept, ("trace_id", PAIRS, PAIRS))
    ]
    return sql.SQL(_RUNS).format(places=sql.SQL(" UNION ").join(places))


def _multirange(sequences: Sequence[tuple[int, int]]) -> str:
    return "{" + ",".join(f"[{first},{last}]" for first, last in sequences) + "}"


def _moment(text: str, beyond: timedelta) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)) + beyond
    except (ValueError, OverflowError):
        return None
