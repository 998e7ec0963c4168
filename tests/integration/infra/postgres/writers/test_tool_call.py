"""Results find their calls: in any order, over batches, gateways and consumers."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from appliance.domain.events.delivery import Delivery
from appliance.domain.events.exchange import Exchange, Returned
from appliance.domain.events.privacy import withheld
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, dump, rows
from tests.integration.infra.postgres.writers.exchanges import call, whole

TABLES = ("tool_calls", "tool_results")


def asks(number: int, *calls: dict[str, Any], **changes: Any) -> Exchange:
    """The exchange whose answer is `calls`."""
    return whole(number, tool_calls=calls, tool_results=(), **changes)


def brings(number: int, *results: Returned, **changes: Any) -> Exchange:
    """The exchange that follows, with what the tools said."""
    return whole(number, tool_calls=(), tool_results=results, **changes)


def numbered(*exchanges: Exchange) -> list[Delivery]:
    return deliveries(TOOL_CALL, *exchanges)


async def write(pool: PostgresPool, *batches: Sequence[Delivery]) -> None:
    for batch in batches:
        assert not (await writer_for(TOOL_CALL, pool).write(batch)).rejected


def results(dsn: str) -> list[tuple[Any, ...]]:
    """What calls have got, in their order."""
    return rows(dsn, "SELECT result FROM tool_calls ORDER BY stream_sequence")


async def test_a_call_and_its_result_are_rows_that_know_each_other(
    dsn: str, pool: PostgresPool
) -> None:
    asking = asks(1, call("a", "look", '{"at": "sky"}'), project="atlas", key_name="ada")
    bringing = brings(
        2, Returned("a", "look", '{"at":"sky"}', "it rains", True), project="atlas", key_name="ada"
    )
    await write(pool, numbered(asking, bringing))
    called, returned = f"{asking.trace_id}:{TOOL_CALL}", f"{bringing.trace_id}:{TOOL_CALL}"
    ((row,),) = rows(dsn, "SELECT to_jsonb(t) FROM tool_calls t")
    assert row.pop("created_at") < row.pop("result_at")
    assert row.pop("id_key") != row.pop("call_key")
    assert row == {
        "event_id": called,
        "trace_id": asking.trace_id,
        "correlation_id": "c-1",
        "conversation_id": "conversation-1",
        "call_index": 0,
        "call_id": "a",
        "name": "look",
        "arguments": '{"at": "sky"}',
        "request_model": "qwen3-8b",
        "model": "qwen3-8b-q4",
        "backend": "local",
        "status": "finished",
        "result": "it rains",
        "result_is_error": True,
        "result_trace_id": bringing.trace_id,
        "project": "atlas",
        "key_name": "ada",
        "stream_sequence": 1,
    }
    found = rows(
        dsn,
        "SELECT event_id, trace_id, call_id, name, arguments, content, is_error, call_event_id, "
        "stream_sequence FROM tool_results",
    )
    told = ("a", "look", '{"at":"sky"}', "it rains", True)
    assert found == [(returned, bringing.trace_id, *told, called, 2)]


@pytest.mark.parametrize("apart", [True, False])
async def test_the_result_may_come_first_in_time_or_in_the_stream(
    dsn: str, pool: PostgresPool, apart: bool
) -> None:
    late, early = asks(1, call("a")), brings(2, Returned("a", "look", "{}", "rain"))
    first, second = numbered(early, late)
    await write(pool, *([first], [second]) if apart else ([second, first],))
    assert results(dsn) == [("rain",)]


@pytest.mark.parametrize(
    ("said", "brought"),
    [
        ('{"a": 1, "b": [1.0, true]}', '{"b":[1,true],"a":1.0}'),
        ('{"t": "\\u00e9\\/"}', '{"t":"é/"}'),
        ("", "{}"),
        ("{}", ""),
        ("not JSON", "not JSON"),
        ('{"n": 12345678901234567890}', '{"n":12345678901234567000}'),
    ],
)
async def test_arguments_that_a_client_wrote_anew_are_the_same(
    dsn: str, pool: PostgresPool, said: str, brought: str
) -> None:
    result = Returned("a", "look", brought, "rain")
    await write(pool, numbered(asks(1, call("a", "look", said)), brings(2, result)))
    assert results(dsn) == [("rain",)]


@pytest.mark.parametrize(
    "result",
    [
        Returned("b", "look", "{}", "rain"),
        Returned("a", "hear", "{}", "rain"),
        Returned("a", "look", '{"at": "sea"}', "rain"),
        Returned("a", "hear", "", "rain"),
        Returned("", "", "", "rain"),
    ],
)
async def test_another_id_name_or_argument_is_no_match(
    dsn: str, pool: PostgresPool, result: Returned
) -> None:
    batch = numbered(asks(1, call("a", arguments="{}"), call("")), brings(2, result))
    await write(pool, batch)
    assert results(dsn) == [(None,), (None,)]
    assert rows(dsn, "SELECT call_event_id FROM tool_results") == [(None,)]


async def test_results_of_another_key_or_of_the_same_exchange_are_no_match(
    dsn: str, pool: PostgresPool
) -> None:
    result = Returned("a", "look", "{}", "rain")
    other = brings(2, result, key_name="eve")
    same = whole(3, tool_results=(result,), tool_calls=(call("a"),), key_name="ada")
    await write(pool, numbered(asks(1, call("a"), key_name="bob"), other, same))
    assert results(dsn) == [(None,), (None,)]


@pytest.mark.parametrize(
    "result", [Returned("a", content="rain"), Returned("a", "look", "", "rain")]
)
async def test_a_result_whose_request_does_not_have_the_call_goes_by_what_it_knows(
    dsn: str, pool: PostgresPool, result: Returned
) -> None:
    calls = (call("b", "look", '{"at": 1}'), call("a", "look", '{"at": 2}'))
    await write(pool, numbered(asks(1, *calls), brings(2, result)))
    assert results(dsn) == [(None,), ("rain",)]


async def test_an_id_that_repeats_means_the_newest_call_before_it(
    dsn: str, pool: PostgresPool
) -> None:
    one, two, three = (Returned("call_0", "look", "{}", text) for text in ("one", "two", "three"))
    turns = [
        asks(1, call("call_0")),
        brings(2, one),
        brings(3, one),  # the client tried again
        asks(4, call("call_0")),
        asks(5, call("call_0")),
        brings(6, two),
        brings(7, three),
    ]
    await write(pool, *([each] for each in numbered(*turns)))
    assert results(dsn) == [("one",), ("three",), ("two",)]
    found = rows(dsn, "SELECT call_event_id IS NULL FROM tool_results ORDER BY stream_sequence")
    assert found == [(False,), (True,), (False,), (False,)]


async def test_equal_calls_of_one_answer_get_their_results_in_their_order(
    dsn: str, pool: PostgresPool
) -> None:
    given = [Returned("call_0", "look", "{}", text) for text in ("one", "two", "three")]
    asking = asks(1, *(call("call_0") for _ in given))
    await write(pool, numbered(asking, brings(2, *given)))
    assert results(dsn) == [("one",), ("two",), ("three",)]


async def test_metadata_alone_is_linked_without_a_word(dsn: str, pool: PostgresPool) -> None:
    exchanges = (
        asks(1, call("a", "look", '{"q": 1}')),
        brings(2, Returned("a", "look", '{"q":1}', "x")),
    )
    await write(pool, numbered(*(withheld(each, "metadata") for each in exchanges)))
    assert results(dsn) == [("",)]


async def test_links_are_the_same_in_any_order_and_after_any_replay(
    dsn: str, pool: PostgresPool, fresh: Callable[[], str]
) -> None:
    """Agents on a server that repeats its ids; some try again, some give up, some know little."""
    chance = random.Random(4)
    turns: list[Exchange] = []
    for number in range(0, 120, 3):
        name, arguments = chance.choice(["look", "hear"]), chance.choice(["{}", '{"a": 1}'])
        turns.append(asks(number + 1, call("call_0", name, arguments)))
        known = Returned("call_0", name, arguments, f"said {number}")
        vague = Returned("call_0", chance.choice(["", name]), "", f"said {number}")
        result = known if chance.random() < 0.8 else vague
        turns += [brings(number + 2 + n, result) for n in range(chance.choice([0, 1, 1, 2]))]
    batch = numbered(*turns)
    await write(pool, batch)
    assert len([row for row in results(dsn) if row[0]]) > 20

    other = fresh()
    async with PostgresPool(other) as one, PostgresPool(other) as two:

        async def consume(pool: PostgresPool, deliveries: Sequence[Delivery]) -> None:
            await write(pool, *(deliveries[at : at + 7] for at in range(0, len(deliveries), 7)))

        shuffled = chance.sample(batch, len(batch))
        await asyncio.gather(consume(one, shuffled[:50]), consume(two, shuffled[40:]))
        assert dump(other, TABLES) == dump(dsn, TABLES)
        await asyncio.gather(consume(one, batch), consume(two, shuffled))
        assert dump(other, TABLES) == dump(dsn, TABLES)


async def test_consumers_that_meet_in_the_middle_miss_no_link(dsn: str, pool: PostgresPool) -> None:
    """One has the calls, the other the results, at the same time, over and over."""
    async with PostgresPool(dsn) as other:
        for base in range(0, 400, 20):
            calls = [asks(base + n, call(f"id-{base + n}")) for n in range(20)]
            given = [
                brings(base + n + 1000, Returned(f"id-{base + n}", "look", "{}", "rain"))
                for n in range(20)
            ]
            await asyncio.gather(write(pool, numbered(*calls)), write(other, numbered(*given)))
    assert rows(dsn, "SELECT count(*) FROM tool_calls WHERE result = 'rain'") == [(400,)]
    assert rows(dsn, "SELECT count(*) FROM tool_results WHERE call_event_id IS NULL") == [(0,)]


async def test_what_was_linked_to_a_row_that_is_gone_stays_as_it_is(
    dsn: str, pool: PostgresPool
) -> None:
    turns = [
        asks(1, call("call_0")),
        asks(2, call("call_0")),
        brings(3, Returned("call_0", "look", "{}", "rain")),
    ]
    await write(pool, numbered(*turns))
    async with pool.transaction() as connection:
        await connection.execute("DELETE FROM tool_calls WHERE result IS NOT NULL")
    await write(pool, deliveries(TOOL_CALL, asks(4, call("call_0")), first=4))
    assert results(dsn) == [(None,), (None,)]
    assert rows(dsn, "SELECT call_event_id IS NULL FROM tool_results") == [(False,)]


async def test_ids_of_any_length_are_kept_and_linked(dsn: str, pool: PostgresPool) -> None:
    long = random.Random(4).randbytes(9000).hex()
    await write(
        pool, numbered(asks(1, call(long)), brings(2, Returned(long, "look", "{}", "rain")))
    )
    assert results(dsn) == [("rain",)]
