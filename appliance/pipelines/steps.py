"""How a step of a run does its work: in an event loop of its own, failing in Dagster's words."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import dagster as dg

from appliance.domain.errors import ApplianceError, PartUnavailable

T = TypeVar("T")

# For what comes back by itself: a part of the appliance that is away.  Three more tries, about
# 1, 2 and 4 seconds apart; then the run fails, and what waits starts another.
RETRY = dg.RetryPolicy(
    max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


def done(work: Coroutine[Any, Any, T]) -> T:
    """What came of `work`.

    A part that is away passes as it is, for the retry policy; everything else fails the step at
    once, because trying again would change nothing.
    """
    try:
        return asyncio.run(work)
    except PartUnavailable:
        raise
    except dg.Failure:
        raise
    except ApplianceError as exc:
        raise dg.Failure(str(exc), allow_retries=False) from exc
    except Exception as exc:
        line = (str(exc).strip() or "no reason given").splitlines()[0]
        raise dg.Failure(f"{type(exc).__name__}: {line}", allow_retries=False) from exc
