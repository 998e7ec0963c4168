"""Waiting for what other processes do."""

import time
from collections.abc import Callable

WAIT_S = 60.0  # only what fails takes so long: a busy machine is no failure
_POLL_S = 0.05


def until(
    claim: Callable[[], object],
    otherwise: Callable[[], object] = lambda: "it did not come to pass",
    timeout_s: float = WAIT_S,
) -> None:
    """Wait for `claim`; AssertionError with `otherwise` when it does not come to pass."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(_POLL_S)
