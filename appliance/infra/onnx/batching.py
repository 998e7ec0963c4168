"""Dynamic batching: texts of all requests wait in one queue, one thread runs the model.

Whenever the thread is free it takes what is queued, never waiting for more: the text whose turn it
is, and those nearest to it in length, so that little of a batch is padding.  Order within a
request is restored.  A second model, that of MaxSim, has its texts in the same queue, in a lane of
its own.  A question waits for one batch of what is longer, never for a second.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
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
from appliance.infra.onnx.window import window

# Turns are given by arrival plus this much per token of the whole request: short ones overtake, and
# nobody waits for ever.  What a token costs on an idle core; on a busy one four times as much, so
# that alone it would not keep a question from waiting for the rest of a folder being ingested.
_TURN_S_PER_TOKEN = 1e-4
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


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """Texts that may share a batch: `encode` makes `width` numbers of each and raises
    PartUnavailable alone; a batch holds `max_batch_tokens`, padding included."""

    encode: Callable[[Sequence[Ids]], NDArray[np.float32]]
    width: int
    max_batch_tokens: int
    observer: Observer


@dataclass(frozen=True, slots=True)
class Vectors:
    """float32, little-endian, row by row: one row of `dimensions` a text; `tokens` is how many of
    each were read."""

    data: bytes
    dimensions: int
    tokens: tuple[int, ...]

    @property
    def count(self) -> int:
        """Of the rows."""
        return len(self.tokens)

    @property
    def input_tokens(self) -> int:
        """What was read of all texts."""
        return sum(self.tokens)


@dataclass(slots=True, eq=False)
class _Request:
    lane: Lane
    rows: NDArray[np.float32]
    missing: int
    turn: float
    is_long: bool  # more than a batch
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
    _lane: Lane | None = field(default=None, init=False)  # of the embedding model
    _queue: list[_Text] = field(default_factory=list, init=False)
    _held: int = field(default=0, init=False)
    _long_last: bool = field(default=False, init=False)  # the last batch was for a long request
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def queue_depth(self) -> int:
        """Texts accepted and not yet answered."""
        return self._held

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the model and embed until the end of the block; what waits then is refused."""
        self._model = model = self.open_model()
        self._lane = Lane(model.encode, DIMENSIONS, self.max_batch_tokens, self.observer)
        try:
            with ThreadPoolExecutor(1, "embed") as thread:
                async with asyncio.TaskGroup() as group:
                    worker = group.create_task(self._work(thread))
                    yield
                    worker.cancel()
        finally:
            self._model = self._lane = None
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
        with self._room(len(texts)):
            tokens = await self._tokenize(texts, truncate, direction)
            _, lane = self._open()  # it may have been closed while this was tokenized
            rows = await self._rows(lane, tokens)
        rows = rows[:, :dimensions]
        data = (normalised(rows) if normalize else rows).astype("<f4").tobytes()
        return Vectors(data, dimensions, tuple(map(len, tokens)))

    async def run(self, lane: Lane, tokens: Sequence[Ids]) -> NDArray[np.float32]:
        """[texts, `lane.width`] of texts that another model read, in order.

        Raises BackendBusy when the queue is full, PartUnavailable when the model fails; cancelling
        as with `embed`.
        """
        with self._room(len(tokens)):
            self._open()
            return await self._rows(lane, tokens)

    @contextmanager
    def _room(self, texts: int) -> Iterator[None]:
        """Count `texts` as held.  Raises BackendBusy when there is no room for them."""
        if self._held + texts > self.max_queue:
            raise BackendBusy("Model is overloaded", backend="inference", retry_after_s=1.0)
        self._held += texts
        try:
            yield
        finally:
            self._held -= texts

    async def _tokenize(
        self, texts: Sequence[str], truncate: bool, direction: Direction
    ) -> list[Ids]:
        model, _ = self._open()
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

    async def _rows(self, lane: Lane, tokens: Sequence[Ids]) -> NDArray[np.float32]:
        total = sum(map(len, tokens))
        request = _Request(
            lane=lane,
            rows=np.empty((len(tokens), lane.width), np.float32),
            missing=len(tokens),
            turn=self.clock() + _TURN_S_PER_TOKEN * total,
            is_long=len(tokens) > 1 and total > lane.max_batch_tokens,
            done=asyncio.get_running_loop().create_future(),
        )
        self._queue += [_Text(ids, request, row) for row, ids in enumerate(tokens)]
        self._wake.set()
        await request.done  # cancelling this cancels `done`, which takes the rest out of the queue
        return request.rows

    def _open(self) -> tuple[Model, Lane]:
        if self._model is None or self._lane is None:
            raise PartUnavailable("the inference role is not running", part="inference")
        return self._model, self._lane

    async def _work(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while await self._wake.wait():
            self._wake.clear()
            while batch := self._take():
                lane, started = batch[0].request.lane, self.clock()
                try:
                    rows = await loop.run_in_executor(thread, lane.encode, [t.ids for t in batch])
                except PartUnavailable as exc:
                    _fail(batch, exc)
                    continue
                except asyncio.CancelledError:
                    _fail(batch, _stopping())
                    raise
                lengths = [len(text.ids) for text in batch]
                padded = len(batch) * max(lengths)
                lane.observer.batch(len(batch), sum(lengths), padded, self.clock() - started)
                _deliver(batch, rows)

    def _take(self) -> list[_Text]:
        """Take the text whose turn it is out of the queue, with its neighbours in length; [] when
        nothing waits.  Texts of requests that were cancelled or have failed are dropped."""
        self._queue = queue = [text for text in self._queue if not text.request.done.done()]
        if not queue:
            return []
        first = self._first(queue)
        lane = first.request.lane
        own = sorted((t for t in queue if t.request.lane is lane), key=lambda text: len(text.ids))
        low, high = window([len(text.ids) for text in own], own.index(first), lane.max_batch_tokens)
        batch = own[low:high]
        taken = set(map(id, batch))
        self._queue = [text for text in queue if id(text) not in taken]
        return batch

    def _first(self, queue: Sequence[_Text]) -> _Text:
        """By turn, save that no long request has two batches in a row while a short one waits."""
        short = [text for text in queue if not text.request.is_long] if self._long_last else ()
        first = min(short or queue, key=lambda text: text.request.turn)
        self._long_last = first.request.is_long
        return first


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
