"""What was said of an answer, as rows."""

from datetime import UTC, datetime

import psycopg

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Rejected
from appliance.domain.events.exchange import Exchange, Feedback
from appliance.domain.events.feedback import FEEDBACK
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from appliance.infra.postgres.writers.forgotten import digest
from tests.fakes.deliveries import changed, deliveries, rows
from tests.fakes.exchanges import exchange

RATED = exchange(1, key_name="laptop")


def rating(number: int, rated: str = RATED.trace_id, **changes: object) -> Exchange:
    given = Feedback(rated, number % 6, f"comment {number}")
    made = exchange(number, operation="feedback", feedback=given, key_name="phone", project="p")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def forget(dsn: str, identifier: str, at: float) -> None:
    with psycopg.connect(dsn) as connection:
        values = (digest(identifier), datetime.fromtimestamp(at, UTC))
        connection.execute("INSERT INTO forgotten VALUES (%s, %s)", values)


async def test_each_is_a_row_of_what_it_rates_and_of_who_rated(
    dsn: str, pool: PostgresPool
) -> None:
    first, second = rating(2), rating(3)
    await writer_for(FEEDBACK, pool).write(deliveries(FEEDBACK, first, second, first=40))
    columns = "event_id, trace_id, feedback_trace_id, correlation_id, conversation_id, rating"
    columns += ", comment, project, key_name, stream_sequence, extract(epoch FROM created_at)"
    found = rows(dsn, f"SELECT {columns}::float8 FROM feedback ORDER BY stream_sequence")
    assert found == [
        (
            f"{each.trace_id}:{FEEDBACK}",
            RATED.trace_id,
            each.trace_id,
            each.correlation_id,
            each.conversation_id,
            number,
            f"comment {number}",
            "p",
            "phone",
            38 + number,
            each.occurred_at,
        )
        for number, each in ((2, first), (3, second))
    ]


async def test_a_pair_says_whose_it_is_and_one_of_an_older_gateway_nobodys(
    dsn: str, pool: PostgresPool
) -> None:
    batch = deliveries(PERSIST, RATED, exchange(2, key_name="phone"))
    batch[1] = changed(batch[1], without=["key_name"])
    await writer_for(PERSIST, pool).write(batch)
    found = rows(dsn, "SELECT trace_id, key_name FROM chat_pairs ORDER BY trace_id")
    assert found == [(RATED.trace_id, "laptop"), (exchange(2).trace_id, "")]


async def test_what_rates_an_exchange_that_was_forgotten_becomes_no_row_however_late(
    dsn: str, pool: PostgresPool
) -> None:
    before, after, other = rating(2), rating(9), rating(10, rated="f" * 32)
    forget(dsn, RATED.trace_id, before.occurred_at + 1)
    written = await writer_for(FEEDBACK, pool).write(deliveries(FEEDBACK, before, after, other))
    assert (written.forgotten, written.inserted) == (2, {"feedback": 1})
    assert rows(dsn, "SELECT trace_id FROM feedback") == [("f" * 32,)]


async def test_nor_does_it_become_a_dead_letter(dsn: str, pool: PostgresPool) -> None:
    after, other = rating(9), rating(10, rated="f" * 32)
    forget(dsn, RATED.trace_id, after.occurred_at - 1)
    rejected = [Rejected(each, "odd", final=True) for each in deliveries(FEEDBACK, after, other)]
    await writer_for(FEEDBACK, pool).bury(rejected)
    assert rows(dsn, "SELECT trace_id FROM dead_letters") == [(other.trace_id,)]
