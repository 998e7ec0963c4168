import asyncio
import time

import pytest

from appliance.domain.chat.limit import TimeLimit


class TooLong(Exception):
    """The limit's own error."""


async def test_a_block_within_the_limit_is_left_alone() -> None:
    with TimeLimit(0.5, TooLong):
        await asyncio.sleep(0)
    await asyncio.sleep(0.6)  # the timer is gone: nothing cancels us


async def test_a_block_beyond_the_limit_ends_in_the_error() -> None:
    with pytest.raises(TooLong), TimeLimit(0.05, TooLong):
        await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_the_block_passes() -> None:
    with pytest.raises(ZeroDivisionError), TimeLimit(1, TooLong):
        raise ZeroDivisionError


async def test_a_cancellation_by_others_passes_also_beside_the_limits_own() -> None:
    async def work(both: bool) -> None:
        with TimeLimit(0.02 if both else 10, TooLong):
            if both:
                time.sleep(0.05)  # noqa: ASYNC251 - the timer is due; we are cancelled before it runs
            await asyncio.sleep(10)

    for both in (False, True):
        task = asyncio.ensure_future(work(both))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
