"""Deletes rows that are older than `[retention]` says.  The consumer role calls it once an hour.

Rows go in small batches, each in a transaction of its own and without a lock, so that writers are
not held up; whatever is interrupted goes on the next time.  Then the contents go that no message
refers to any more: those of the rows just deleted, and a slice of all contents, which finds in the
course of days what an interruption left.  Tombstones (`forgotten`) stay for ever.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from appliance.config.schema import RetentionConfig
from appliance.infra.postgres.locks import hold_alone
from appliance.infra.postgres.pool import PostgresPool

# Field of RetentionConfig -> the tables it is for.
TABLES: Mapping[str, tuple[str, ...]] = {
    "chat_history": ("chat_history",),
    "chat_pairs": ("chat_pairs",),
    "embedding_events": ("embedding_events",),
    "retrieve_events": ("retrieve_events",),
    "rerank_scores": ("rerank_scores",),
    "compose_events": ("compose_events",),
    "flow_lineage": ("flow_lineage",),
    "tool_calls": ("tool_calls", "tool_results"),
    "feedback": ("feedback",),
    "pipeline_runs": ("pipeline_runs",),
    "dead_letters": ("dead_letters",),
    "api_responses": ("api_responses",),
}
CONTENTS = "message_contents"
BATCH_ROWS = 5000
# A response may have 64 MiB beside its row, in pieces of 2 KB that are deleted one by one.
BATCHES: Mapping[str, int] = {"api_responses": 50}
BATCH_CONTENTS = 500  # writers wait for these
# One search finds rows for twenty batches: each passes by all that were deleted since the last
# vacuum, and a first run over ten million rows must not do that two thousand times.
SEARCH_ROWS = 100_000
SLICE_CONTENTS = 20_000
_DAY_S = 86_400.0
T = TypeVar("T")
_OLD = "SELECT ctid::text FROM {table} WHERE created_at < to_timestamp(%s) LIMIT %s"
# A row that was found may be gone by now and its place taken: the time is asked again.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY(%s::tid[]) AND created_at < to_timestamp(%s)
"""
_DELETE_HISTORY = """
WITH gone AS (
    DELETE FROM chat_history WHERE ctid = ANY(%s::tid[]) AND created_at < to_timestamp(%s)
    RETURNING content_hash
)
SELECT content_hash, count(*) FROM gone GROUP BY content_hash
"""
_REFERRED = "SELECT FROM chat_history h WHERE h.content_hash = c.hash"
_UNREFERRED = f"""
SELECT c.hash FROM unnest(%s::bytea[]) AS c (hash) WHERE NOT EXISTS ({_REFERRED})
"""
_DELETE_CONTENTS = f"""
DELETE FROM message_contents c WHERE c.hash = ANY(%s) AND NOT EXISTS ({_REFERRED})
"""
_SLICE = "SELECT hash FROM message_contents WHERE hash >= %s ORDER BY hash LIMIT %s"
_FROM_THE_FIRST = "SELECT hash FROM message_contents WHERE hash < %s ORDER BY hash LIMIT %s"


async def prune(pool: PostgresPool, config: RetentionConfig, now: float) -> dict[str, int]:
    """Delete what is too old at `now` (Unix seconds); rows by table, contents included.

    Raises PartUnavailable(part="postgres"); what was deleted until then stays deleted.
    """
    rows: dict[str, int] = {}
    for table, cutoff in _cutoffs(config, now):
        if table == "chat_history":
            rows[table], rows[CONTENTS] = await _prune_history(pool, cutoff)
        else:
            rows[table] = await _prune(pool, table, cutoff)
    return rows


async def due(pool: PostgresPool, config: RetentionConfig, now: float) -> bool:
    """Is there a row that `prune` would delete?  Raises PartUnavailable(part="postgres")."""
    for table, cutoff in _cutoffs(config, now):
        if await _search(pool, table, cutoff, 1):
            return True
    return False


def _cutoffs(config: RetentionConfig, now: float) -> Iterator[tuple[str, float]]:
    """The tables whose rows are not kept for ever, each with the time before which they go."""
    for name, tables in TABLES.items():
        days: int = getattr(config, name)
        for table in tables if days else ():
            yield table, now - days * _DAY_S


async def _prune(pool: PostgresPool, table: str, cutoff: float) -> int:
    deleted = 0
    statement = _DELETE.format(table=table).encode()
    while found := await _search(pool, table, cutoff):
        for batch in _batches(found, BATCHES.get(table, BATCH_ROWS)):
            async with pool.transaction() as connection:
                deleted += (await connection.execute(statement, (batch, cutoff))).rowcount
    return deleted


async def _prune_history(pool: PostgresPool, cutoff: float) -> tuple[int, int]:
    """Messages deleted, contents deleted."""
    deleted = contents = 0
    while found := await _search(pool, "chat_history", cutoff):
        hashes: set[bytes] = set()
        for batch in _batches(found, BATCH_ROWS):
            async with pool.transaction() as connection:
                gone = await connection.execute(_DELETE_HISTORY, (batch, cutoff))
                for content, count in await gone.fetchall():
                    hashes.add(content)
                    deleted += count
        contents += await _prune_contents(pool, sorted(hashes))
    return deleted, contents + await _prune_contents(pool, await _slice(pool))


async def _search(
    pool: PostgresPool, table: str, cutoff: float, most: int = SEARCH_ROWS
) -> list[str]:
    """Places of rows that are too old, `most` of them."""
    async with pool.transaction() as connection:
        # The BRIN index of the time passes by everything that is young; a plan that reads the
        # whole table would be chosen as soon as the statistics promise a few old rows early on.
        await connection.execute("SET LOCAL enable_seqscan = off")
        query = _OLD.format(table=table).encode()
        found = await connection.execute(query, (cutoff, most))
        return [row[0] for row in await found.fetchall()]


async def _prune_contents(pool: PostgresPool, hashes: Sequence[bytes]) -> int:
    """Delete those of `hashes` that no message has.  The lock is held for what there is to delete,
    not for finding it, and asked again under the lock: a batch may have come in between."""
    deleted = 0
    for some in _batches(hashes, BATCH_ROWS):
        async with pool.transaction() as connection:
            found = await connection.execute(_UNREFERRED, (some,))
            orphans = [row[0] for row in await found.fetchall()]
        for batch in _batches(orphans, BATCH_CONTENTS):
            async with pool.transaction() as connection:
                await hold_alone(connection)
                deleted += (await connection.execute(_DELETE_CONTENTS, (batch,))).rowcount
    return deleted


async def _slice(pool: PostgresPool) -> list[bytes]:
    """Hashes are evenly spread: from a random one on, and then from the first, each is as likely
    to be among them."""
    begin = secrets.token_bytes(32)
    async with pool.transaction() as connection:
        found = await connection.execute(_SLICE, (begin, SLICE_CONTENTS))
        hashes = [row[0] for row in await found.fetchall()]
        if len(hashes) < SLICE_CONTENTS:
            found = await connection.execute(_FROM_THE_FIRST, (begin, SLICE_CONTENTS - len(hashes)))
            hashes += [row[0] for row in await found.fetchall()]
    return hashes


def _batches(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
