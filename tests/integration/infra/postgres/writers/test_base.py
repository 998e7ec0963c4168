"""What holds for the writer of every subject."""

import asyncio
import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.delivery import Rejected
from appliance.domain.events.durables import DURABLES
from appliance.infra.postgres.locks import hold_alone
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import WRITERS, writer_for
from tests.fakes.deliveries import changed, deliveries, delivery, dump, rows
from tests.integration.infra.postgres.writers.exchanges import whole

SUBJECTS = list(DURABLES)


def _counts(dsn: str, subject: str) -> dict[str, int]:
    tables = DURABLES[subject].tables
    return {table: rows(dsn, f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def _forget(dsn: str, *ids: str) -> None:
    with psycopg.connect(dsn) as connection:
        for each in ids:
            digest = hashlib.sha256(each.encode()).digest()
            connection.execute("INSERT INTO forgotten (digest) VALUES (%s)", (digest,))


def test_every_subject_that_is_kept_has_its_writer() -> None:
    assert list(WRITERS) == SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_rows_are_counted_by_table_and_a_second_time_there_are_none_to_add(
    dsn: str, pool: PostgresPool, subject: str
) -> None:
    writer = writer_for(subject, pool)
    batch = deliveries(subject, *(whole(number) for number in range(1, 8)))
    first = await writer.write(batch)
    there = dump(dsn, DURABLES[subject].tables)
    assert set(first.offered) == set(DURABLES[subject].tables)
    assert first.offered == first.inserted == _counts(dsn, subject)
    assert all(first.inserted.values())
    again = await writer.write(batch)
    assert again.offered == first.offered
    assert again.inserted == dict.fromkeys(first.offered, 0)
    assert (again.rejected, again.forgotten) == ([], 0)
    assert dump(dsn, DURABLES[subject].tables) == there


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_batches_of_two_consumers_in_any_order_leave_the_same_rows_and_never_a_deadlock(
    dsn: str, pool: PostgresPool, fresh: Callable[[], str], subject: str
) -> None:
    batch = deliveries(subject, *(whole(number) for number in range(1, 61)))
    await writer_for(subject, pool).write(batch)
    other = fresh()
    chance = random.Random(4)

    async def consume(pool: PostgresPool, seed: int) -> None:
        shuffled = random.Random(seed).sample(batch, len(batch))
        while shuffled:
            size = chance.randint(1, 25)
            written = await writer_for(subject, pool).write(shuffled[:size])
            assert not written.rejected
            del shuffled[:size]

    async with PostgresPool(other) as one, PostgresPool(other) as two:
        await asyncio.gather(consume(one, 1), consume(two, 2), consume(one, 3), consume(two, 4))
    tables = DURABLES[subject].tables
    assert dump(other, tables) == dump(dsn, tables)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_what_is_to_be_forgotten_under_any_of_its_ids_becomes_no_row(
    dsn: str, pool: PostgresPool, subject: str
) -> None:
    kept, *gone = (whole(number) for number in range(1, 5))
    _forget(dsn, gone[0].trace_id, gone[1].correlation_id, gone[2].conversation_id)
    written = await writer_for(subject, pool).write(deliveries(subject, kept, *gone))
    assert written.forgotten == len(deliveries(subject, *gone))
    assert written.offered == written.inserted == _counts(dsn, subject)
    for table in DURABLES[subject].tables:
        assert set(rows(dsn, f"SELECT trace_id FROM {table}")) == {(kept.trace_id,)}


async def test_a_thread_that_goes_on_after_it_was_forgotten_is_kept_again(
    dsn: str, pool: PostgresPool
) -> None:
    subject, before, after = SUBJECTS[0], whole(1), whole(2, correlation_id="c-1")
    at = datetime.fromtimestamp(before.occurred_at + 0.5, UTC)
    with psycopg.connect(dsn) as connection:
        digest = hashlib.sha256(b"c-1").digest()
        connection.execute("INSERT INTO forgotten VALUES (%s, %s)", (digest, at))
    written = await writer_for(subject, pool).write(deliveries(subject, before, after))
    assert written.forgotten == 1
    assert set(rows(dsn, "SELECT trace_id FROM chat_pairs")) == {(after.trace_id,)}


async def test_a_dead_letter_of_what_was_forgotten_is_not_kept(
    dsn: str, pool: PostgresPool
) -> None:
    subject, gone, kept = SUBJECTS[0], whole(1), whole(2)
    _forget(dsn, gone.trace_id)
    rejected = [Rejected(each, "broken", final=True) for each in deliveries(subject, gone, kept)]
    await writer_for(subject, pool).bury(rejected)
    assert rows(dsn, "SELECT trace_id FROM dead_letters") == [(kept.trace_id,)]


async def test_nor_is_one_of_a_thread_that_was_forgotten_unless_it_was_asked_later(
    dsn: str, pool: PostgresPool
) -> None:
    subject, before, after = SUBJECTS[0], whole(1), whole(2, correlation_id="c-1")
    at = datetime.fromtimestamp(before.occurred_at + 0.5, UTC)
    with psycopg.connect(dsn) as connection:
        digest = hashlib.sha256(b"c-1").digest()
        connection.execute("INSERT INTO forgotten VALUES (%s, %s)", (digest, at))
    untimed = changed(deliveries(subject, whole(3, correlation_id="c-1"))[0], occurred_at="never")
    letters = [*deliveries(subject, before, after), untimed]
    await writer_for(subject, pool).bury([Rejected(each, "broken", final=True) for each in letters])
    assert rows(dsn, "SELECT trace_id FROM dead_letters") == [(after.trace_id,)]


async def test_a_batch_waits_for_whoever_is_forgetting_and_then_knows(
    dsn: str, pool: PostgresPool
) -> None:
    subject, gone = SUBJECTS[0], whole(1)
    async with PostgresPool(dsn) as other, other.transaction() as connection:
        await hold_alone(connection)
        writing = asyncio.ensure_future(writer_for(subject, pool).write(deliveries(subject, gone)))
        while not rows(dsn, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            await asyncio.sleep(0.01)
        digest = hashlib.sha256(gone.trace_id.encode()).digest()
        await connection.execute("INSERT INTO forgotten (digest) VALUES (%s)", (digest,))
    assert (await writing).forgotten == 1
    assert _counts(dsn, subject) == {"chat_history": 0, "chat_pairs": 0}


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_what_is_no_event_is_rejected_for_good_and_the_others_are_written(
    dsn: str, pool: PostgresPool, subject: str
) -> None:
    good = deliveries(subject, *(whole(number) for number in range(1, 6)))
    poison = [b"", b"\xff", b"null", b"{}", b'{"trace_id":1}', b"[" * 100_000, b'"\\ud800"']
    bad = [delivery(subject, 100 + n, f"x:{n}", data) for n, data in enumerate(poison)]
    written = await writer_for(subject, pool).write([*bad[:3], *good, *bad[3:]])
    assert [each.delivery for each in written.rejected] == bad
    assert all(each.final for each in written.rejected)
    assert written.inserted == _counts(dsn, subject)
    assert all(_counts(dsn, subject).values())


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_what_postgres_refuses_is_found_among_the_others(
    dsn: str, pool: PostgresPool, subject: str
) -> None:
    good = deliveries(subject, *(whole(number) for number in range(1, 20)))
    bad = deliveries(subject, whole(50), first=500)
    bad = [changed(each, occurred_at="2026-13-45T25:00:00Z") for each in bad]
    written = await writer_for(subject, pool).write([*good[:7], *bad, *good[7:]])
    assert [each.delivery for each in written.rejected] == bad
    assert not any(each.final for each in written.rejected)
    said = "DatetimeFieldOverflow: date/time field value out of range"
    assert all(each.reason.startswith(said) for each in written.rejected)
    assert all("\n" not in each.reason for each in written.rejected)
    assert written.inserted == written.offered == _counts(dsn, subject)
    for table in DURABLES[subject].tables:
        found = rows(dsn, f"SELECT count(DISTINCT trace_id) FROM {table}")
        assert found == [(19,)]


@pytest.mark.parametrize("moment", ["infinity", "now", "yesterday, perhaps", ""])
async def test_a_moment_nobody_can_read_back_is_no_event(pool: PostgresPool, moment: str) -> None:
    for subject in SUBJECTS:
        bad = [changed(each, occurred_at=moment) for each in deliveries(subject, whole(1))]
        written = await writer_for(subject, pool).write(bad)
        assert [each.final for each in written.rejected] == [True] * len(bad)


@pytest.mark.parametrize(
    ("subject", "values"),
    [
        ("pipeline.knowledge.chat.persist", {"gen_ai__usage__input_tokens": 2**80}),
        ("pipeline.knowledge.chat.persist", {"conversation_id": None}),
        ("pipeline.knowledge.embedding", {"dimensions": 2**63}),
        ("pipeline.knowledge.retrieve", {"limit": 2**31}),
        ("pipeline.knowledge.compose", {"used_tokens": 2**63}),
        ("pipeline.knowledge.tool_call", {"call_index": 2**63, "kind": "call"}),
        ("pipeline.knowledge.feedback", {"rating": 6}),
        ("pipeline.knowledge.flow.lineage", {"nodes": [{"id": "request"}]}),
    ],
)
async def test_values_out_of_range_or_shape_stop_nobody(
    dsn: str, pool: PostgresPool, subject: str, values: dict[str, Any]
) -> None:
    if (
        values.get("conversation_id", "") is None
    ):  # longer than an index entry, and not compressible
        values = {"conversation_id": random.Random(4).randbytes(9000).hex()}
    batch = deliveries(subject, *(whole(number) for number in range(1, 6)))
    batch[2] = changed(batch[2], **values)
    written = await writer_for(subject, pool).write(batch)
    assert [each.delivery.sequence for each in written.rejected] == [batch[2].sequence]
    assert sum(written.inserted.values()) == sum(_counts(dsn, subject).values())
    assert all(_counts(dsn, subject).values())


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_a_nul_becomes_a_replacement_character_wherever_it_is(
    dsn: str, pool: PostgresPool, subject: str
) -> None:
    (batch,) = deliveries(subject, whole(1))[-1:]
    odd = msgspec.json.encode(_spoiled(msgspec.json.decode(batch.data)))
    written = await writer_for(subject, pool).write(
        [delivery(subject, 1, batch.event_id, odd), *deliveries(subject, whole(2), first=9)]
    )
    assert not written.rejected
    assert any(
        "\ufffd" in line for table in dump(dsn, DURABLES[subject].tables).values() for line in table
    )


def _spoiled(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return value if name in ("occurred_at", "kind") else f"{value}\0"
    if isinstance(value, list):
        return [_spoiled(item) for item in value]
    if isinstance(value, dict):
        return {key: _spoiled(item, key) for key, item in value.items()}
    return value


async def test_more_than_a_transaction_should_hold_is_written_in_parts(
    dsn: str, pool: PostgresPool
) -> None:
    subject = SUBJECTS[0]
    batch = deliveries(subject, *(whole(number, size=34_000_000) for number in (1, 2)))
    written = await writer_for(subject, pool).write(batch)
    assert written.inserted == {"chat_history": 6, "chat_pairs": 2}
    xids = rows(dsn, "SELECT count(DISTINCT xmin::text) FROM chat_pairs")
    assert xids == [(2,)]


async def test_dead_letters_keep_the_message_whatever_its_ids_are(
    dsn: str, pool: PostgresPool
) -> None:
    subject = SUBJECTS[0]
    long = random.Random(4).randbytes(9000).hex()
    bad = [
        Rejected(delivery(subject, 1, "t\0:x", b"\xff\0"), "because\0 \ud800", final=True),
        Rejected(delivery(subject, 2, long, b"{}"), "y" * 100_000, final=True),
    ]
    for _ in range(2):
        await writer_for(subject, pool).bury(bad)
    found = rows(dsn, "SELECT trace_id, reason, payload, deliveries FROM dead_letters ORDER BY id")
    assert [row[0] for row in found] == ["t\ufffd", long[:256]]
    assert found[0][1:] == ("because\ufffd ?", b"\xff\0", 1)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_without_tables_it_asks_to_migrate_and_nobody_is_rejected(
    fresh_dsn: str, subject: str
) -> None:
    async with PostgresPool(fresh_dsn) as pool:
        writer = writer_for(subject, pool)
        batch = deliveries(subject, whole(1))
        for call in (writer.write(batch), writer.bury([Rejected(batch[0], "x", final=True)])):
            with pytest.raises(PartUnavailable, match="run `appliance migrate`"):
                await call
