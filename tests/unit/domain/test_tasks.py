import asyncio

from appliance.domain.tasks import ended


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(ended(task), 60)
    assert task.cancelled()
    assert swallowed == 1


async def test_what_a_task_raised_is_not_raised_again() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await ended(task)
    assert isinstance(task.exception(), RuntimeError)
