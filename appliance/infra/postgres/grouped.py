"""Writes that come while another one is under way go together: one statement, one round trip, one
commit.  Under `responses.py`; knows no SQL.

Who comes alone waits for nobody.  Under load a group costs little more than one write does, so the
more there is to do, the less each takes; nobody lingers for others to come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from appliance.domain.errors import PartUnavailable
from appliance.domain.tasks import ended

MOST: Final = 64
ALONE_BYTES: Final = 128 * 1024  # one that is larger takes its time by itself
SLOW_S: Final = 0.1


class Sized(Protocol):
    """A value that can be written."""

    @property
    def size_bytes(self) -> int:
        """Roughly."""


V = TypeVar("V", bound=Sized)
R = TypeVar("R")


class Grouped(Generic[V, R]):
    """`write` takes up to MOST values, in their order, and answers for each.  It has to come
    to an end by itself: who waits for it may have left.  After `slow_s` nobody waits for a group
    that is being written, on a connection to nowhere perhaps.  `close` it before what `write`
    needs."""

    def __init__(
        self, write: Callable[[Sequence[V]], Awaitable[Sequence[R]]], *, slow_s: float = SLOW_S
    ) -> None:
        self._write = write
        self._slow_s = slow_s
        self._waiting: dict[asyncio.Future[R], V] = {}
        self._writers: set[asyncio.Task[None]] = set()
        self._closed = False
        self._begun = 0.0  # when a group was last taken, by the loop's clock

    async def add(self, value: V) -> R:
        """What `write` says of `value`.  Raises what it raises for all of a group, where that is
        PartUnavailable, or for `value` alone: one that is refused is no fault of the others; and
        PartUnavailable(part="postgres") for what was not written when it was closed."""
        if self._closed:
            raise _over()
        if value.size_bytes > ALONE_BYTES:
            return (await self._write([value]))[0]
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting[answer] = value
        if not self._writers or loop.time() - self._begun > self._slow_s:
            self._writers.add(loop.create_task(self._run()))
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)

    async def close(self) -> None:
        """Nothing is written any more: whoever still waits is told."""
        self._closed = True
        await ended(*self._writers)
        _refuse(self._waiting)  # a writer that had not begun has answered nobody

    async def _run(self) -> None:
        writer = asyncio.current_task()
        assert writer is not None
        group: dict[asyncio.Future[R], V] = {}
        try:
            while group := dict(islice(self._waiting.items(), MOST)):
                self._begun = asyncio.get_running_loop().time()
                for answer in group:
                    del self._waiting[answer]
                await self._answer(group)
        finally:  # at once: whoever was answered may come again before a callback would run
            self._writers.discard(writer)
            _refuse(group)  # it was ended while it wrote them

    async def _answer(self, group: Mapping["asyncio.Future[R]", V]) -> None:
        try:
            said = await self._write(list(group.values()))
        except Exception as exc:  # noqa: BLE001 - raised to whoever waits
            if len(group) > 1 and not isinstance(exc, PartUnavailable):
                for answer, value in group.items():
                    await self._answer({answer: value})
                return
            for answer in group:
                if not answer.done():
                    answer.set_exception(exc)
            return
        for answer, each in zip(group, said, strict=True):
            if not answer.done():  # who waited has left
                answer.set_result(each)


def _refuse(answers: Iterable["asyncio.Future[R]"]) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(_over())


def _over() -> PartUnavailable:
    return PartUnavailable("PostgreSQL: nothing is written any more", part="postgres")
