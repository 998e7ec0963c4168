import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.errors import BackendBusy


def slots(*, in_flight: int = 1, queue: int = 8, timeout_s: float = 5.0) -> Slots:
    return Slots("local", SlotLimits(in_flight, queue, timeout_s))


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(8):
        await asyncio.sleep(0)


class Holder:
    """A task that takes a slot and keeps it until `leave`."""

    def __init__(self, of: Slots, log: list[int], number: int) -> None:
        self._leave = asyncio.Event()
        self.holds = False
        self.task = asyncio.ensure_future(self._hold(of, log, number))

    async def _hold(self, of: Slots, log: list[int], number: int) -> None:
        async with of.slot():
            self.holds = True
            log.append(number)
            try:
                await self._leave.wait()
            finally:
                self.holds = False

    def leave(self) -> None:
        self._leave.set()


async def test_waiters_are_served_in_the_order_they_came() -> None:
    of, log = slots(), list[int]()
    holders = [Holder(of, log, n) for n in range(4)]
    await settle()
    assert (log, of.in_flight, of.queued) == ([0], 1, 3)
    for holder in holders:
        holder.leave()
        await settle()
    assert log == [0, 1, 2, 3]
    assert (of.in_flight, of.queued) == (0, 0)


async def test_as_many_as_allowed_are_in_flight_at_once() -> None:
    of, log = slots(in_flight=3), list[int]()
    holders = [Holder(of, log, n) for n in range(5)]
    await settle()
    assert (log, of.in_flight, of.queued) == ([0, 1, 2], 3, 2)
    for holder in holders:
        holder.leave()
    await asyncio.gather(*(h.task for h in holders))
    assert of.in_flight == 0


async def test_a_full_queue_is_busy_at_once_and_says_when_to_come_back() -> None:
    of, log = slots(queue=1, timeout_s=7.0), list[int]()
    holders = [Holder(of, log, n) for n in range(2)]
    await settle()
    with pytest.raises(BackendBusy, match="queue is full") as busy:
        async with asyncio.timeout(0.5), of.slot():
            raise AssertionError("no slot was free")
    assert (busy.value.backend, busy.value.retry_after_s) == ("local", 7.0)
    assert (of.in_flight, of.queued) == (1, 1)
    for holder in holders:
        holder.leave()
    await asyncio.gather(*(h.task for h in holders))


async def test_without_a_queue_nobody_waits() -> None:
    of = slots(queue=0)
    async with of.slot():
        with pytest.raises(BackendBusy):
            async with asyncio.timeout(0.5), of.slot():
                raise AssertionError("no slot was free")
    async with of.slot():
        assert of.in_flight == 1


@pytest.mark.parametrize(("timeout_s", "told_s"), [(0.01, 1.0), (0.02, 1.0)])
async def test_a_wait_that_is_too_long_is_busy_and_leaves_the_queue(
    timeout_s: float, told_s: float
) -> None:
    of = slots(timeout_s=timeout_s)
    async with of.slot():
        with pytest.raises(BackendBusy, match=f"{timeout_s:g} s") as busy:
            async with of.slot():
                raise AssertionError("no slot was free")
        assert busy.value.retry_after_s == told_s
        assert (of.in_flight, of.queued) == (1, 0)
    assert of.in_flight == 0


async def test_a_waiter_that_is_cancelled_leaves_the_queue_to_the_next() -> None:
    of, log = slots(), list[int]()
    first, second, third = (Holder(of, log, n) for n in range(3))
    await settle()
    second.task.cancel()
    await settle()
    assert of.queued == 1
    first.leave()
    await settle()
    assert (log, third.holds, of.in_flight) == ([0, 2], True, 1)
    third.leave()
    await third.task
    assert of.in_flight == 0


async def test_a_waiter_cancelled_in_the_moment_it_gets_the_slot_hands_it_on() -> None:
    of, log = slots(), list[int]()
    first, second, third = (Holder(of, log, n) for n in range(3))
    await settle()
    first.leave()
    await asyncio.sleep(0)  # the first runs and hands its slot to the second, which has not run
    assert (first.task.done(), of.queued, second.holds) == (True, 1, False)
    second.task.cancel()
    await settle()
    assert second.task.cancelled()
    assert (log, third.holds, of.in_flight) == ([0, 2], True, 1)
    third.leave()
    await third.task
    assert (of.in_flight, of.queued) == (0, 0)


async def test_a_slot_passes_over_a_waiter_that_is_cancelled_and_has_not_run_yet() -> None:
    of, log = slots(), list[int]()
    first, second, third = (Holder(of, log, n) for n in range(3))
    await settle()
    first.leave()
    second.task.cancel()
    await settle()
    assert first.task.exception() is None
    assert (log, third.holds, of.in_flight, of.queued) == ([0, 2], True, 1, 0)
    third.leave()
    await third.task
    assert of.in_flight == 0


async def test_an_error_in_the_block_gives_the_slot_back() -> None:
    of = slots()
    with pytest.raises(ZeroDivisionError):
        async with of.slot():
            raise ZeroDivisionError
    assert of.in_flight == 0


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "cancel", "pause", "wait"]), st.integers(0, 30)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_no_order_of_coming_leaving_and_cancelling_leaks_a_slot(
    actions: list[tuple[str, int]], in_flight: int, queue: int, hasty: bool
) -> None:
    async def play() -> None:
        of, log = slots(in_flight=in_flight, queue=queue, timeout_s=0.002 if hasty else 60), [0]
        holders: list[Holder] = []
        for action, number in actions:
            if action == "come":
                holders.append(Holder(of, log, len(holders)))
            elif action == "pause":
                await asyncio.sleep(0)
            elif action == "wait":
                await asyncio.sleep(0.003 if hasty else 0)
            elif holders:
                chosen = holders[number % len(holders)]
                chosen.leave() if action == "leave" else chosen.task.cancel()
            assert sum(h.holds for h in holders) <= of.in_flight <= in_flight
            assert of.queued <= queue
        await settle()
        if not hasty:
            alive = [h for h in holders if not h.task.done()]
            assert of.in_flight == sum(h.holds for h in alive)
            assert of.queued == len(alive) - of.in_flight
        for holder in holders:
            holder.leave()
        ends = await asyncio.gather(*(h.task for h in holders), return_exceptions=True)
        expected = (type(None), BackendBusy, asyncio.CancelledError)
        assert all(isinstance(end, expected) for end in ends)
        assert (of.in_flight, of.queued) == (0, 0)
        async with AsyncExitStack() as stack:  # every slot can be had again, at once
            for _ in range(in_flight):
                await stack.enter_async_context(of.slot())

    asyncio.run(play())
