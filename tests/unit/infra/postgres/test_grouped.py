"""Writes that go together: who waits for whom, and whose failure is whose."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.infra.postgres.grouped import ALONE_BYTES, MOST, Grouped


@dataclass(frozen=True)
class Value:
    name: str
    size_bytes: int = 1


class Writer:
    """Writes its groups down; holds them while `gate` is shut; refuses what is `bad`."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def __call__(self, values: Sequence[Value]) -> list[str]:
        names = [value.name for value in values]
        self.groups.append(names)
        self.begun.put_nowait(names)
        await self.gate.wait()
        if self.away:
            raise PartUnavailable("away", part="postgres")
        if "bad" in names:
            raise ValueError("bad")
        return [f"{name}!" for name in names]


@pytest.fixture
async def writer() -> Writer:
    return Writer()


async def test_what_comes_while_one_is_written_goes_together_after_it(writer: Writer) -> None:
    grouped = Grouped(writer)
    names = [str(number) for number in range(MOST + 3)]
    said = await asyncio.gather(*(grouped.add(Value(name)) for name in ["first", *names]))
    assert said == ["first!", *(f"{name}!" for name in names)]
    assert [len(group) for group in writer.groups] == [MOST, 4]


async def test_who_was_answered_may_come_again_at_once(writer: Writer) -> None:
    grouped = Grouped(writer)
    async with asyncio.timeout(10):
        assert [await grouped.add(Value(name)) for name in "abc"] == ["a!", "b!", "c!"]


async def test_one_that_is_refused_is_no_fault_of_the_others(writer: Writer) -> None:
    grouped = Grouped(writer)
    said = await asyncio.gather(
        *(grouped.add(Value(name)) for name in ("a", "bad", "b")), return_exceptions=True
    )
    assert (said[0], said[2]) == ("a!", "b!")
    assert isinstance(said[1], ValueError)


async def test_a_part_that_is_away_is_asked_once_for_all(writer: Writer) -> None:
    grouped, writer.away = Grouped(writer), True
    said = await asyncio.gather(
        *(grouped.add(Value(name)) for name in "abc"), return_exceptions=True
    )
    assert [type(each) for each in said] == [PartUnavailable] * 3
    assert writer.groups == [["a", "b", "c"]]


async def test_who_leaves_before_its_turn_is_not_written(writer: Writer) -> None:
    grouped = Grouped(writer)
    writer.gate.clear()
    first = asyncio.ensure_future(grouped.add(Value("first")))
    assert await writer.begun.get() == ["first"]
    left, stays = (asyncio.ensure_future(grouped.add(Value(name))) for name in ("left", "stays"))
    await asyncio.sleep(0)  # both wait
    left.cancel()
    await asyncio.wait({left})
    first.cancel()  # being written: it is, without it
    writer.gate.set()
    async with asyncio.timeout(10):
        assert await stays == "stays!"
    assert writer.groups == [["first"], ["stays"]]


async def test_a_large_one_waits_for_no_group_and_keeps_none_waiting(writer: Writer) -> None:
    grouped = Grouped(writer)
    writer.gate.clear()
    small = asyncio.ensure_future(grouped.add(Value("small")))
    large = asyncio.ensure_future(grouped.add(Value("large", ALONE_BYTES + 1)))
    async with asyncio.timeout(10):
        begun = [await writer.begun.get(), await writer.begun.get()]
    assert sorted(begun) == [["large"], ["small"]]
    writer.gate.set()
    assert (await small, await large) == ("small!", "large!")


async def test_a_group_that_gets_nowhere_keeps_no_other_waiting(writer: Writer) -> None:
    grouped = Grouped(writer, slow_s=0)
    writer.gate.clear()
    stuck = asyncio.ensure_future(grouped.add(Value("stuck")))
    assert await writer.begun.get() == ["stuck"]
    following = asyncio.ensure_future(grouped.add(Value("next")))
    async with asyncio.timeout(10):
        assert await writer.begun.get() == ["next"]
    writer.gate.set()
    assert (await stuck, await following) == ("stuck!", "next!")


async def test_one_that_is_closed_answers_whoever_waits_and_writes_nothing_more(
    writer: Writer,
) -> None:
    grouped = Grouped(writer)
    writer.gate.clear()
    writing = asyncio.ensure_future(grouped.add(Value("writing")))
    assert await writer.begun.get() == ["writing"]
    waiting = asyncio.ensure_future(grouped.add(Value("waiting")))
    await asyncio.sleep(0)  # it waits
    async with asyncio.timeout(10):
        await grouped.close()
        said = await asyncio.gather(writing, waiting, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(PartUnavailable):
            await grouped.add(Value("late"))
    assert [type(each) for each in said] == [PartUnavailable] * 2
    assert writer.groups == [["writing"]]


async def test_one_that_is_closed_before_its_first_write_answers_too(writer: Writer) -> None:
    grouped = Grouped(writer)
    waiting = asyncio.ensure_future(grouped.add(Value("waiting")))
    await asyncio.sleep(0)  # its writer is there, and has not begun
    async with asyncio.timeout(10):
        await grouped.close()
        with pytest.raises(PartUnavailable):
            await waiting
    assert writer.groups == []


async def test_who_has_left_costs_the_others_of_its_group_no_answer(writer: Writer) -> None:
    grouped, writer.away = Grouped(writer), True
    writer.gate.clear()
    left, stays = (asyncio.ensure_future(grouped.add(Value(name))) for name in ("left", "stays"))
    assert await writer.begun.get() == ["left", "stays"]
    left.cancel()
    await asyncio.wait({left})
    writer.gate.set()
    async with asyncio.timeout(10):
        with pytest.raises(PartUnavailable, match="away"):
            await stays
