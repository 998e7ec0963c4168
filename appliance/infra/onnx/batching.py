"""Dynamic batching: texts of all requests wait in one queue, one thread runs the model.

Whenever the thread is free it takes what is queued, never waiting for more: the text whose turn it
is, and those nearest to it in length, so that little of a batch is padding.  Order within a
request is restored.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.domain.errors import (
    BackendBusy,
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
)
from appliance.infra.onnx.encoder import Direction, Ids, normalised, truncated
from appliance.infra.onnx.spec import DIMENSIONS, MAX_INPUT_TOKENS

# Turns are given by arrival plus this much per token of the whole request: a question overtakes a
# folder being ingested, and nobody waits for ever.  About what a token costs on a slow core.
_TURN_S_PER_TOKEN = 1e-4
# A batch costs 1.2 ms beside its tokens' 0.1 ms each: to run another is cheaper than more padding.
_PADDING_TOKENS = 16
_INLINE_CHARS = 4096  # up to here tokenizing takes less time than handing it to a thread


class Model(Protocol):
    """A loaded model; both methods block."""

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of each text at its whole length."""

    def encode(self, batch: Sequence[Ids]) -> NDArray[np.float32]:
        """[texts, DIMENSIONS], not normalised.  Raises PartUnavailable."""


class Observer(Protocol):
    """Told of every batch that ran."""

    def batch(self, texts: int, tokens: int, padded_tokens: int, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """float32, little-endian, row by row: `count` rows of `dimensions`; `input_tokens` is what was
    read."""

    data: bytes
    count: int
    dimensions: int
    input_tokens: int


@dataclass(slots=True, eq=False)
class _Request:
    rows: NDArray[np.float32]
    missing: int
    turn: float
    done: "asyncio.Future[None]"


@dataclass(slots=True, eq=False)
class _Text:
    ids: Ids
    request: _Request
    row: int


@dataclass(slots=True)
class Batcher:
    """Embeds for many callers at once.  Serves only within `running()`."""

    open_model: Callable[[], Model]
    observer: Observer
    max_batch_tokens: int
    max_queue: int  # texts accepted and not yet answered
    clock: Callable[[], float] = time.monotonic
    _model: Model | None = field(default=None, init=False)
    _queue: list[_Text] = field(default_factory=list, init=False)
    _held: int = field(default=0, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def queue_depth(self) -> int:
        """Texts accepted and not yet answered."""
        return self._held

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the model and embed until the end of the block; what waits then is refused."""
        self._model = self.open_model()
        try:
            with ThreadPoolExecutor(1, "embed") as thread:
                async with asyncio.TaskGroup() as group:
                    worker = group.create_task(self._work(self._model, thread))
                    yield
                    worker.cancel()
        finally:
            self._model = None
            _fail(self._queue, _stopping())
            self._queue.clear()

    async def embed(
        self,
        texts: Sequence[str],
        *,
        truncate: bool,
        normalize: bool = True,
        direction: Direction = "right",
        dimensions: int = DIMENSIONS,
    ) -> Vectors:
        """One vector for each text, in order, of the first `dimensions` numbers.

        Raises InvalidRequest for no or an empty text, ContextLengthExceeded unless `truncate`,
        BackendBusy when the queue is full, PartUnavailable when the model fails.  Cancelling takes
        what has not started out of the queue.
        """
        if not texts or not all(texts):
            raise InvalidRequest("`inputs` cannot be empty", param="inputs", code="empty")
        if self._held + len(texts) > self.max_queue:
            raise BackendBusy("Model is overloaded", backend="inference", retry_after_s=1.0)
        self._held += len(texts)
        try:
            tokens = await self._tokenize(texts, truncate, direction)
            rows = await self._rows(tokens)
        finally:
            self._held -= len(texts)
        rows = rows[:, :dimensions]
        data = (normalised(rows) if normalize else rows).astype("<f4").tobytes()
        return Vectors(data, len(texts), dimensions, sum(map(len, tokens)))

    async def _tokenize(
        self, texts: Sequence[str], truncate: bool, direction: Direction
    ) -> list[Ids]:
        model = self._open()
        if sum(map(len, texts)) <= _INLINE_CHARS:
            tokens = model.tokenize(texts)
        else:
            tokens = await asyncio.to_thread(model.tokenize, texts)
        longest = max(map(len, tokens))
        if longest > MAX_INPUT_TOKENS and not truncate:
            raise ContextLengthExceeded(
                f"`inputs` must have less than {MAX_INPUT_TOKENS} tokens. Given: {longest}",
                param="inputs",
            )
        return [truncated(ids, direction) for ids in tokens]

    async def _rows(self, tokens: list[Ids]) -> NDArray[np.float32]:
        self._open()  # it may have been closed while this was tokenized
        request = _Request(
            rows=np.empty((len(tokens), DIMENSIONS), np.float32),
            missing=len(tokens),
            turn=self.clock() + _TURN_S_PER_TOKEN * sum(map(len, tokens)),
            done=asyncio.get_running_loop().create_future(),
        )
        self._queue += [_Text(ids, request, row) for row, ids in enumerate(tokens)]
        self._wake.set()
        await request.done  # cancelling this cancels `done`, which takes the rest out of the queue
        return request.rows

    def _open(self) -> Model:
        if self._model is None:
            raise PartUnavailable("the inference role is not running", part="inference")
        return self._model

    async def _work(self, model: Model, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while await self._wake.wait():
            self._wake.clear()
            while batch := self._take():
                started = self.clock()
                try:
                    rows = await loop.run_in_executor(thread, model.encode, [t.ids for t in batch])
                except PartUnavailable as exc:
                    _fail(batch, exc)
                    continue
                except asyncio.CancelledError:
                    _fail(batch, _stopping())
                    raise
                lengths = [len(text.ids) for text in batch]
                padded = len(batch) * max(lengths)
                self.observer.batch(len(batch), sum(lengths), padded, self.clock() - started)
                _deliver(batch, rows)

    def _take(self) -> list[_Text]:
        """Take the text whose turn it is out of the queue, with its neighbours in length; [] when
        nothing waits.  Texts of requests that were cancelled or have failed are dropped."""
        self._queue = queue = [text for text in self._queue if not text.request.done.done()]
        if not queue:
            return []
        first = min(queue, key=lambda text: text.request.turn)
        queue.sort(key=lambda text: len(text.ids))
        low, high = window(
            [len(text.ids) for text in queue], queue.index(first), self.max_batch_tokens
        )
        batch = queue[low:high]
        del queue[low:high]
        return batch


def window(lengths: Sequence[int], first: int, max_tokens: int) -> tuple[int, int]:
    """The slice of ascending `lengths` around index `first` to run as one batch.

    Grows to the side that adds less padding, while the padded batch stays within `max_tokens` (a
    single text may be longer) and another text adds no more than _PADDING_TOKENS of padding.
    """
    low, high = first, first + 1
    while True:
        longest, count = lengths[high - 1], high - low
        below = longest - lengths[low - 1] if low else None
        above = count * (lengths[high] - longest) if high < len(lengths) else None
        if above is not None and (count + 1) * lengths[high] > max_tokens:
            above = None
        if below is not None and (count + 1) * longest > max_tokens:
            below = None
        cheapest = min((cost for cost in (below, above) if cost is not None), default=None)
        if cheapest is None or cheapest > _PADDING_TOKENS:
            return low, high
        if cheapest == above:
            high += 1
        else:
            low -= 1


def _deliver(batch: list[_Text], rows: NDArray[np.float32]) -> None:
    for text, row in zip(batch, rows, strict=True):
        request = text.request
        request.rows[text.row] = row
        request.missing -= 1
        if not request.missing and not request.done.done():
            request.done.set_result(None)


def _fail(texts: list[_Text], error: PartUnavailable) -> None:
    for text in texts:
        if not text.request.done.done():
            text.request.done.set_exception(error)


def _stopping() -> PartUnavailable:
    return PartUnavailable("the inference role is stopping", part="inference")
