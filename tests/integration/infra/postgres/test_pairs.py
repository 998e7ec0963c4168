"""Pairs as a dataset reads them; what becomes of them is in tests/integration/infra/datasets."""

from typing import Any

from appliance.domain.datasets.pair import Pair
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.exchange import Exchange
from appliance.infra.postgres.migrate import migrate
from appliance.infra.postgres.pairs import PairReader
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries
from tests.fakes.exchanges import exchange

FIRST = 1_795_000_000.25


async def _read(dsn: str, *exchanges: Exchange, **changes: Any) -> list[list[Pair]]:
    limits = {"max_prompt_chars": 50, "max_response_chars": 20, "since": None, "until": None}
    await migrate(dsn)
    async with PostgresPool(dsn) as pool:
        assert not (await writer_for(PERSIST, pool).write(deliveries(PERSIST, *exchanges))).rejected
        reader = PairReader(pool, "pair", **(limits | changes))
        return [batch async for batch in reader.batches()]


async def test_pairs_come_a_few_at_a_time_in_the_order_of_the_stream(fresh_dsn: str) -> None:
    numbers = [n * 37 % 230 for n in range(230)]
    batches = await _read(fresh_dsn, *(exchange(n) for n in numbers))
    assert [int(pair.trace_id, 16) for batch in batches for pair in batch] == numbers
    assert max(map(len, batches)) <= 100


async def test_of_a_long_text_no_more_is_read_than_tells_that_it_is_too_long(
    fresh_dsn: str,
) -> None:
    ((pair,),) = await _read(fresh_dsn, exchange(1, size=500, answer="ü" * 500))
    assert (len(pair.prompt), pair.response) == (51, "ü" * 21)


async def test_a_range_has_its_start_and_not_its_end(fresh_dsn: str) -> None:
    within = {"since": FIRST + 2, "until": FIRST + 4}
    (batch,) = await _read(fresh_dsn, *(exchange(n) for n in range(6)), **within)
    assert [int(pair.trace_id, 16) for pair in batch] == [2, 3]
    assert [pair.created_at.timestamp() for pair in batch] == [FIRST + 2, FIRST + 3]


async def test_a_pair_has_what_is_known_of_it(fresh_dsn: str) -> None:
    ((pair,),) = await _read(fresh_dsn, exchange(1, size=0, project="site"))
    assert pair.messages == ({"role": "user", "content": "question 1 "},)
    assert (pair.response, pair.model, pair.backend) == ("answer 1", "qwen3-8b-q4", "local")
    assert (pair.route, pair.project, pair.finish_reason) == ("direct", "site", "stop")
    assert (pair.input_tokens, pair.output_tokens) == (12, 3)
    assert (pair.duration_s, pair.time_to_first_token_s) == (0.5, 0.1)
    assert (pair.rating, pair.obstacle, pair.names_conversation) == (None, "", True)
