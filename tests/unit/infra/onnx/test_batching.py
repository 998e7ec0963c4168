"""Many callers, one thread, little padding."""

import asyncio
import threading
import time
from array import array
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.domain.errors import (
    BackendBusy,
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
)
from appliance.infra.onnx.batching import Batcher, Lane
from appliance.infra.onnx.spec import DIMENSIONS
from appliance.infra.onnx.window import window


class Numbers:
    """A model whose texts are numbers of tokens, and whose vectors begin with that number.  It
    waits at the gate before each batch; `batches` are the lengths that ran."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.fails = False

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[0] * int(text) for text in texts]

    def encode(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        self.started.set()
        assert self.gate.wait(60)
        if self.fails:
            raise PartUnavailable("broken", part="inference")
        self.batches.append([len(ids) for ids in batch])
        rows = np.zeros((len(batch), DIMENSIONS), np.float32)
        rows[:, 0] = [len(ids) for ids in batch]
        return rows


class Seen:
    def __init__(self) -> None:
        self.padding: list[int] = []

    def batch(self, texts: int, tokens: int, padded_tokens: int, seconds: float) -> None:
        self.padding.append(padded_tokens - tokens)


def batcher(
    model: Numbers, *, max_queue: int = 100, clock: Callable[[], float] = time.monotonic
) -> Batcher:
    return Batcher(lambda: model, Seen(), max_batch_tokens=100, max_queue=max_queue, clock=clock)


async def firsts(batching: Batcher, *texts: str, truncate: bool = True) -> list[float]:
    """The first number of each vector."""
    vectors = await batching.embed(texts, truncate=truncate, normalize=False)
    return array("f", vectors.data)[:: vectors.dimensions].tolist()


async def held(model: Numbers, batching: Batcher) -> "asyncio.Task[list[float]]":
    """A request of one token that keeps the thread busy until the gate opens."""
    model.gate.clear()
    model.started.clear()
    task = asyncio.ensure_future(firsts(batching, "1"))
    await asyncio.to_thread(model.started.wait, 10)
    return task


async def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        assert await firsts(batching, "40", "3", "90", "4", "41") == [40, 3, 90, 4, 41]
    assert sorted(map(sorted, model.batches)) == [[3, 4], [40, 41], [90]]


async def test_requests_that_wait_share_a_batch() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        first = await held(model, batching)
        waiting = [asyncio.ensure_future(firsts(batching, "5")) for _ in range(4)]
        await asyncio.sleep(0)
        model.gate.set()
        assert await first == [1]
        assert [await task for task in waiting] == [[5]] * 4
    assert model.batches == [[1], [5, 5, 5, 5]]


async def test_a_question_overtakes_a_folder() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        first = await held(model, batching)
        folder = asyncio.ensure_future(firsts(batching, *["90"] * 40))
        await asyncio.sleep(0)
        question = asyncio.ensure_future(firsts(batching, "6"))
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, folder, question)
    assert model.batches[1] == [6]


async def test_a_folder_whose_turn_has_come_takes_turns_with_questions() -> None:
    model, now = Numbers(), [0.0]
    async with (batching := batcher(model, clock=lambda: now[0])).running():
        model.gate.clear()
        folder = asyncio.ensure_future(firsts(batching, *["90"] * 4))
        await asyncio.to_thread(model.started.wait, 10)
        now[0] = 100.0
        questions = [asyncio.ensure_future(firsts(batching, text)) for text in ("6", "60")]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(folder, *questions)
    assert model.batches == [[90], [6], [90], [60], [90], [90]]


async def test_a_cancelled_request_is_not_run() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        first = await held(model, batching)
        gone = asyncio.ensure_future(firsts(batching, "70", "71"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert batching.queue_depth == 1
        model.gate.set()
        assert await first == [1]
        assert await firsts(batching, "8") == [8]
    assert model.batches == [[1], [8]]


async def test_a_full_queue_refuses_and_empties_again() -> None:
    model = Numbers()
    async with (batching := batcher(model, max_queue=3)).running():
        first = await held(model, batching)
        with pytest.raises(BackendBusy):
            await firsts(batching, "2", "2", "2")
        model.gate.set()
        await first
        assert await firsts(batching, "2", "2", "2") == [2, 2, 2]
    assert batching.queue_depth == 0


async def test_a_batch_that_fails_fails_its_requests_only() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        model.fails = True
        with pytest.raises(PartUnavailable, match="broken"):
            await firsts(batching, "90", "5")
        model.fails = False
        assert await firsts(batching, "5") == [5]
    assert model.batches == [[5]]


async def test_what_is_unanswered_when_the_role_stops_is_refused() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        first = await held(model, batching)
        waiting = asyncio.ensure_future(firsts(batching, "5"))
        await asyncio.sleep(0)
        threading.Timer(0.05, model.gate.set).start()
    for refused in await asyncio.gather(first, waiting, return_exceptions=True):
        assert isinstance(refused, PartUnavailable)
    with pytest.raises(PartUnavailable):
        await firsts(batching, "5")


async def test_a_long_text_is_an_error_unless_it_may_be_cut() -> None:
    model = Numbers()
    async with (batching := batcher(model)).running():
        with pytest.raises(ContextLengthExceeded, match=r"less than 256 tokens\. Given: 300"):
            await firsts(batching, "7", "300", truncate=False)
        assert await firsts(batching, "7", "300") == [7, 256]
        assert (await batching.embed(["7", "300"], truncate=True)).input_tokens == 263


@pytest.mark.parametrize("texts", [[], ["1", ""]])
async def test_nothing_to_embed_is_an_error(texts: list[str]) -> None:
    async with (batching := batcher(Numbers())).running():
        with pytest.raises(InvalidRequest, match="cannot be empty"):
            await firsts(batching, *texts)


@pytest.mark.parametrize(
    ("lengths", "first", "expected"),
    [
        ([5], 0, (0, 1)),
        ([5, 5, 5, 5], 1, (0, 4)),
        ([5, 6, 45, 46], 0, (0, 2)),  # 39 tokens of padding and more are dearer than a batch
        ([5, 6, 45, 46], 3, (2, 4)),
        ([60, 60], 0, (0, 1)),  # two would be more than a batch may hold
        ([400], 0, (0, 1)),  # one alone may be
        ([20, 30, 31, 60], 1, (0, 3)),
    ],
)
def test_a_batch_is_the_neighbours_in_length(
    lengths: list[int], first: int, expected: tuple[int, int]
) -> None:
    assert window(lengths, first, 100) == expected


async def test_another_models_texts_have_batches_of_their_own() -> None:
    model, other, seen = Numbers(), Numbers(), Seen()
    lane = Lane(lambda batch: other.encode(batch)[:, :1], 1, 20, seen)
    async with (batching := batcher(model)).running():
        first = await held(model, batching)
        scored = asyncio.ensure_future(batching.run(lane, [[0] * n for n in (9, 8, 7)]))
        await asyncio.sleep(0)
        question = asyncio.ensure_future(firsts(batching, "10"))
        await asyncio.sleep(0)
        assert batching.queue_depth == 5
        model.gate.set()
        assert await question == [10]
        assert (await scored)[:, 0].tolist() == [9, 8, 7]
        await first
    assert model.batches == [[1], [10]]
    assert sorted(map(sorted, other.batches)) == [[7], [8, 9]]
    assert len(seen.padding) == 2


async def test_another_models_texts_count_against_the_same_queue() -> None:
    model = Numbers()
    lane = Lane(lambda batch: model.encode(batch)[:, :1], 1, 20, Seen())
    async with (batching := batcher(model, max_queue=2)).running():
        with pytest.raises(BackendBusy):
            await batching.run(lane, [[0]] * 3)
        assert len(await batching.run(lane, [[0]] * 2)) == 2
    with pytest.raises(PartUnavailable):
        await batching.run(lane, [[0]])
