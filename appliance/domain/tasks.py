"""End a task that runs beside others, for sure."""

import asyncio
from typing import Any

_AGAIN_S = 0.1


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel `tasks` and wait for their end; what they raise is not raised here.

    Once is not enough: Python 3.11's `wait_for` swallows a cancellation that arrives together with
    what it waited for, and a loop around it would go on for ever.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
