"""Rows that are too old go, and nothing else does."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest

from appliance.config.schema import RetentionConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery, Rejected
from appliance.domain.events.durables import DURABLES
from appliance.infra.postgres import retention
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.responses import PostgresResponseStore
from appliance.infra.postgres.retention import prune
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.fakes.exchanges import exchange
from tests.fakes.kept_events import TABLES, recent
from tests.fakes.stored_responses import response

DAY_S = 86_400.0
NOW = 1_795_000_000.0
OTHERS = ("dead_letters", "pipeline_runs", "api_responses")  # not made of events
EVERYTHING = RetentionConfig(**dict.fromkeys(retention.TABLES, 7))


def _only(**days: int) -> RetentionConfig:
    """These tables and no others."""
    return RetentionConfig(**{"api_responses": 0, **days})


async def _write(dsn: str, *ages_days: float) -> list[str]:
    """An exchange of each age with rows in every table; their trace ids."""
    kept = [
        replace(recent(number), occurred_at=NOW - age * DAY_S)
        for number, age in enumerate(ages_days)
    ]
    async with PostgresPool(dsn) as pool:
        for subject in DURABLES:
            written = await writer_for(subject, pool).write(deliveries(subject, *kept))
            assert written.rejected == []
    return [each.trace_id for each in kept]


def _traces(dsn: str, table: str) -> set[str]:
    return {row[0] for row in rows(dsn, f"SELECT DISTINCT trace_id FROM {table}")}


async def _prune(dsn: str, config: RetentionConfig, now: float = NOW) -> dict[str, int]:
    async with PostgresPool(dsn) as pool:
        return await prune(pool, config, now)


async def test_what_is_older_goes_from_every_table_and_the_rest_stays(dsn: str) -> None:
    old, edge, young = await _write(dsn, 8, 6.9, 0)
    deleted = await _prune(dsn, EVERYTHING)
    for table in TABLES:
        assert _traces(dsn, table) == {edge, young}, table
        assert deleted[table] > 0
    assert not any((await _prune(dsn, EVERYTHING)).values())
    assert (await _prune(dsn, EVERYTHING, NOW + 7 * DAY_S))["chat_pairs"] == 1
    assert _traces(dsn, "chat_pairs") == {young}
    assert old not in str(rows(dsn, "SELECT * FROM chat_history"))


@pytest.mark.parametrize(
    ("field", "tables"),
    [(f, t) for f, t in retention.TABLES.items() if f not in OTHERS],
)
async def test_each_table_has_its_days_and_none_is_never(
    dsn: str, field: str, tables: tuple[str, ...]
) -> None:
    await _write(dsn, 8)
    assert await _prune(dsn, _only()) == {}
    deleted = await _prune(dsn, _only(**{field: 7}))
    assert {table for table, count in deleted.items() if count} - {"message_contents"} == set(
        tables
    )
    assert {table for table in TABLES if not _traces(dsn, table)} == set(tables)


async def test_contents_go_with_the_last_message_that_has_them(dsn: str) -> None:
    await _write(dsn, 8, 0)
    before = {row[0] for row in rows(dsn, "SELECT content FROM message_contents")}
    deleted = await _prune(dsn, _only(chat_history=7))
    left = {row[0] for row in rows(dsn, "SELECT content FROM message_contents")}
    assert {text.split(" x")[0] for text in before - left} == {"question 0", "answer 0"}
    assert "You are terse." in left
    assert deleted["message_contents"] == 2


async def test_contents_an_interruption_left_are_found_later(dsn: str) -> None:
    await _write(dsn, 0)
    hashes = [sha256(bytes([number])).digest() for number in range(50)]
    with_content = "INSERT INTO message_contents (hash, content) VALUES (%s, 'left') RETURNING hash"
    for content in hashes:
        rows(dsn, with_content, content)
    assert (await _prune(dsn, _only(chat_history=7)))["message_contents"] == 50
    assert rows(dsn, "SELECT count(*) FROM message_contents") == [(3,)]


async def test_dead_letters_go_and_tombstones_stay(dsn: str) -> None:
    rows(dsn, "INSERT INTO forgotten (digest, forgotten_at) VALUES ('\\x00', 'epoch') RETURNING 1")
    async with PostgresPool(dsn) as pool:
        buried = Rejected(Delivery("PIPELINE", PERSIST, 1, 1, "t:x", b"{}"), "why", final=True)
        await writer_for(PERSIST, pool).bury([buried])
    rows(dsn, "UPDATE dead_letters SET created_at = to_timestamp(%s) RETURNING 1", NOW - 8 * DAY_S)
    assert await _prune(dsn, _only(dead_letters=9)) == {"dead_letters": 0}
    assert await _prune(dsn, _only(dead_letters=7)) == {"dead_letters": 1}
    assert rows(dsn, "SELECT count(*) FROM forgotten") == [(1,)]


async def test_responses_go_in_small_batches_and_all_of_them(dsn: str) -> None:
    count = 2 * retention.BATCHES["api_responses"] + 1
    async with PostgresPool(dsn) as pool:
        store = PostgresResponseStore(pool)
        for number in range(count):
            await store.keep(replace(response(f"old-{number}"), created_at=NOW - 8 * DAY_S), b"")
        await store.keep(replace(response("young"), created_at=NOW - 6 * DAY_S), b"")
    assert await _prune(dsn, _only(api_responses=7)) == {"api_responses": count}
    assert _traces(dsn, "api_responses") == {"young"}


async def test_many_rows_go_in_batches_and_all_of_them(dsn: str) -> None:
    count = retention.SEARCH_ROWS + retention.BATCH_ROWS // 2
    rows(
        dsn,
        "WITH new AS (INSERT INTO chat_pairs (trace_id, correlation_id, conversation_id, prompt,"
        " response, model, backend, route, project, stream_sequence, created_at)"
        " SELECT n, '', '', '', '', '', '', '', '', n, to_timestamp(%s)"
        " FROM generate_series(1, %s) AS n RETURNING 1) SELECT count(*) FROM new",
        NOW - 8 * DAY_S,
        count,
    )
    assert await _prune(dsn, _only(chat_pairs=7)) == {"chat_pairs": count}


async def test_writers_and_prune_at_once_leave_no_message_without_its_content(dsn: str) -> None:
    """The same texts come again and again while the rows that have them go."""

    async def keep_writing(pool: PostgresPool) -> None:
        writer = writer_for(PERSIST, pool)
        for number in range(60):
            old = exchange(number % 3, trace_id=f"t-{number}", occurred_at=NOW - 8 * DAY_S)
            event = deliveries(PERSIST, old, first=number + 1)
            assert (await writer.write(event)).rejected == []

    async def keep_pruning(pool: PostgresPool) -> int:
        deleted = 0
        for _ in range(30):
            deleted += (await prune(pool, _only(chat_history=7), NOW))["chat_history"]
        return deleted

    async with PostgresPool(dsn) as pool:
        _, deleted = await asyncio.gather(keep_writing(pool), keep_pruning(pool))
    assert deleted > 0
    dangling = (
        "SELECT count(*) FROM chat_history h WHERE NOT EXISTS"
        " (SELECT FROM message_contents c WHERE c.hash = h.content_hash)"
    )
    assert rows(dsn, dangling) == [(0,)]


def test_every_field_of_the_configuration_is_served() -> None:
    assert set(retention.TABLES) == set(msgspec.structs.asdict(RetentionConfig()))
    served = {table for tables in retention.TABLES.values() for table in tables}
    assert served == {*TABLES, *OTHERS}
