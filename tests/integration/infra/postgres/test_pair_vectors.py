"""Pairs get their vectors: once, oldest first, whatever else is written meanwhile."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from appliance.domain.embeddings.ports import Embedded
from appliance.domain.errors import ContextLengthExceeded, InvalidRequest, PartUnavailable
from appliance.domain.events.chat import PERSIST
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pair_vectors import (
    SELECT_WAITING,
    PairsEmbedded,
    embed_pairs,
    text_of_pair,
    waiting,
)
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.fakes.exchanges import exchange

MODEL = "minilm/pca256.1"


@dataclass
class Model:
    """Embeds a text as its length; refuses what `refuses` is in, and waits for `gate`."""

    refuses: str = ""
    error: type[ContextLengthExceeded | InvalidRequest] = ContextLengthExceeded
    gate: asyncio.Event | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def __call__(self, texts: list[str]) -> Embedded:
        self.asked.append(texts)
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses and any(self.refuses in text for text in texts):
            raise self.error("too long", param="input")
        vectors: list[Sequence[float]] = [[float(len(text))] + [0.0] * 255 for text in texts]
        return Embedded(vectors, MODEL, None)


async def _write(pool: PostgresPool, *numbers: int, **changes: Any) -> list[str]:
    """Pairs whose sequence is ten times their number; their trace ids."""
    made = [exchange(number, size=0, **changes) for number in numbers]
    for number, each in zip(numbers, made, strict=True):
        batch = deliveries(PERSIST, each, first=number * 10)
        assert not (await writer_for(PERSIST, pool).write(batch)).rejected
    return [each.trace_id for each in made]


async def _embed(
    pool: PostgresPool, model: Model, most: int = 100, batch: int = 4
) -> PairsEmbedded:
    return await embed_pairs(pool, model, most=most, batch=batch)


def _embedded(dsn: str) -> dict[int, tuple[bool, str | None]]:
    found = rows(
        dsn, "SELECT stream_sequence, embedding IS NOT NULL, embedding_model FROM chat_pairs"
    )
    return {sequence: (has, model) for sequence, has, model in found}


async def test_every_pair_gets_its_own_vector_and_is_not_asked_for_again(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, *range(1, 11))
    model = Model()
    found = await _embed(pool, model)
    assert (found.embedded, found.empty, found.already, found.waiting) == (10, 0, 0, 0)
    assert found.sequences == [(n * 10, n * 10) for n in range(1, 11)]
    assert found.model == MODEL
    assert found.occurred == (
        "2026-11-18T11:06:41.250000+00:00",
        "2026-11-18T11:06:50.250000+00:00",
    )
    assert [len(texts) for texts in model.asked] == [4, 4, 2]
    lengths = rows(dsn, "SELECT prompt, response, (embedding::real[])[1] FROM chat_pairs")
    assert all(length == len(text_of_pair(p, r)) for p, r, length in lengths)
    assert await _embed(pool, Model()) == PairsEmbedded()
    assert set(_embedded(dsn).values()) == {(True, MODEL)}


async def test_the_oldest_come_first_and_no_more_than_asked_for(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, 9, 3, 7, 1, 5)
    found = await _embed(pool, Model(), most=3, batch=2)
    assert (found.embedded, found.waiting) == (3, 2)
    assert sorted(n for n, (has, _) in _embedded(dsn).items() if has) == [10, 30, 50]


async def test_each_batch_is_told_as_it_is_committed(pool: PostgresPool, dsn: str) -> None:
    await _write(pool, 1, 2, 3)
    told: list[tuple[int, int]] = []

    async def settled(done: PairsEmbedded) -> None:
        committed = sum(has for has, _ in _embedded(dsn).values())
        told.append((done.embedded, committed))

    await embed_pairs(pool, Model(), most=100, batch=2, settled=settled)
    assert told == [(2, 2), (1, 3)]


async def test_a_pair_without_a_text_gets_no_vector_and_does_not_wait(
    pool: PostgresPool, dsn: str
) -> None:
    blank = ({"role": "user", "content": " \n\t "},)
    await _write(pool, 1, 2, messages=blank, answer="")
    await _write(pool, 3)
    model = Model()
    found = await _embed(pool, model, batch=2)
    assert (found.embedded, found.empty, found.waiting) == (1, 2, 0)
    assert sum(map(len, model.asked)) == 1
    assert _embedded(dsn) == {10: (False, ""), 20: (False, ""), 30: (True, MODEL)}


@pytest.mark.parametrize("error", [ContextLengthExceeded, InvalidRequest])
async def test_one_text_that_is_refused_does_not_hold_up_the_others(
    pool: PostgresPool, dsn: str, error: type[ContextLengthExceeded | InvalidRequest]
) -> None:
    await _write(pool, *range(1, 9))
    found = await _embed(pool, Model(refuses="answer 5", error=error), batch=8)
    assert (found.embedded, found.empty, found.waiting) == (7, 1, 0)
    assert _embedded(dsn)[50] == (False, "")


async def test_while_the_model_is_away_pairs_wait_and_nothing_is_lost(pool: PostgresPool) -> None:
    await _write(pool, 1, 2, 3)
    model = Model()

    async def fails_later(texts: list[str]) -> Embedded:
        if model.asked:
            raise PartUnavailable("the inference role cannot be reached", part="inference")
        return await model(texts)

    with pytest.raises(PartUnavailable):
        await embed_pairs(pool, fails_later, most=100, batch=2)
    assert await waiting(pool) == 1
    assert (await _embed(pool, Model())).embedded == 1


async def test_two_at_once_embed_each_pair_once_and_the_slower_one_leaves(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, *range(1, 41))
    slow, fast = Model(gate=asyncio.Event()), Model()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_embed(pool, slow))
        while not slow.asked:
            await asyncio.sleep(0)
        first = await _embed(pool, fast)
        assert slow.gate is not None
        slow.gate.set()
    late = task.result()
    assert (first.embedded, first.already) == (40, 0)
    assert (late.embedded, late.already, late.sequences) == (0, 4, [])
    assert len(slow.asked) == 1
    assert set(_embedded(dsn).values()) == {(True, MODEL)}


async def test_many_at_once_leave_no_pair_behind(pool: PostgresPool, dsn: str) -> None:
    await _write(pool, *range(1, 61))
    models = [Model() for _ in range(4)]
    found = await asyncio.gather(*(_embed(pool, model) for model in models))
    assert sum(each.embedded for each in found) == 60
    assert sorted(s for each in found for s in each.sequences) == [
        (n * 10, n * 10) for n in range(1, 61)
    ]
    assert set(_embedded(dsn).values()) == {(True, MODEL)}


async def test_no_transaction_is_open_while_the_vectors_are_made(
    pool: PostgresPool, dsn: str
) -> None:
    await _write(pool, 1)
    model = Model(gate=asyncio.Event())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_embed(pool, model))
        while not model.asked:
            await asyncio.sleep(0)
        with psycopg.connect(dsn) as other:
            other.execute("SET lock_timeout = '20s'")
            other.execute("LOCK TABLE chat_pairs IN ACCESS EXCLUSIVE MODE")
        assert model.gate is not None
        model.gate.set()


async def test_what_is_forgotten_while_its_vector_is_made_stays_gone(
    pool: PostgresPool, dsn: str
) -> None:
    gone, _ = await _write(pool, 1, 2)
    model = Model(gate=asyncio.Event())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_embed(pool, model))
        while not model.asked:
            await asyncio.sleep(0)
        await forget(pool, gone)
        assert model.gate is not None
        model.gate.set()
    assert (task.result().embedded, task.result().already) == (1, 0)
    assert _embedded(dsn) == {20: (True, MODEL)}


async def test_a_row_that_is_locked_is_left_to_whoever_has_it(pool: PostgresPool, dsn: str) -> None:
    await _write(pool, 1)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM chat_pairs FOR UPDATE")
        found = await asyncio.wait_for(_embed(pool, Model()), timeout=60)
    assert (found.embedded, found.already, found.waiting) == (0, 1, 1)
    assert (await _embed(pool, Model())).embedded == 1


async def test_those_that_wait_are_found_through_their_index(dsn: str) -> None:
    rows(
        dsn,
        "INSERT INTO chat_pairs (trace_id, correlation_id, conversation_id, prompt, response,"
        " model, backend, route, project, embedding_model, stream_sequence, created_at)"
        " SELECT n, '', '', 'p', 'r', '', '', '', '', CASE WHEN n > 100 THEN 'm' END, n, now()"
        " FROM generate_series(1, 10000) AS n RETURNING 1",
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ANALYZE chat_pairs")
        explain = f"EXPLAIN {SELECT_WAITING}".encode()
        plan = connection.execute(explain, (32,)).fetchall()
    assert "chat_pairs_waiting" in str(plan)


@pytest.mark.parametrize(
    ("prompt", "response", "text"),
    [
        ("question", "answer", "question\nanswer"),
        ("question", "", "question"),
        ("", "answer", "answer"),
        (" \n", "\t", ""),
        ("p" * 2000, "r" * 2000, "p" * 500 + "\n" + "r" * 500),
        ("p" * 2000, "r" * 10, "p" * 990 + "\n" + "r" * 10),
        ("p" * 10, "r" * 2000, "p" * 10 + "\n" + "r" * 990),
    ],
)
def test_a_long_prompt_leaves_room_for_the_response(prompt: str, response: str, text: str) -> None:
    assert text_of_pair(prompt, response) == text
