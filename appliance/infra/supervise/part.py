"""A part of the appliance as the supervisor sees it.  `up` starts a table of these; a new part is
one row.
"""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

Step = Callable[[], Awaitable[None]]
Probe = Callable[[], Awaitable[bool]]
Remark = Callable[[], Awaitable[str]]


async def nothing() -> None:
    """A step that does nothing."""


async def no_remark() -> str:
    """There is nothing to add."""
    return ""


async def always() -> bool:
    """The probe of a part that answers nobody: running is healthy."""
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """One child process.

    `before` runs once before the first start, `prepare` once after it, when `healthy` has said yes;
    what depends on the part (`after`: names) waits for both.  `death_signal` is what it gets when
    `up` itself dies.  A `late` part starts when it is told to, after the others, and is tried until
    it comes up: nothing else waits for it, or stops because of it; it has neither `before` nor
    `prepare`.  `remark` is added when it is said that it came up.
    """

    name: str
    command: Sequence[str]
    where: str  # its address or purpose, for the progress line
    healthy: Probe = always
    remark: Remark = no_remark
    after: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Step = nothing
    prepare: Step = nothing
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    start_limit_s: float = 60.0
    stop_limit_s: float = 10.0
    late: bool = False
