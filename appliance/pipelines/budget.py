"""How often a sensor may ask for a run: a token bucket that is kept in the sensor's cursor.

A run costs Dagster some dozens of rows and a part of a second whatever it handles, so what
trickles in is gathered.  Pure: it is told the time, and connects to nothing.
"""

import math
from dataclasses import dataclass

BURST = 10.0  # runs in a row after a rest: a conversation need not wait for any
_VERSION = "runs-1"


@dataclass(frozen=True, slots=True)
class Budget:
    """`tokens` runs could be asked for at `at`, seconds since 1970; one more every so often."""

    tokens: float
    at: float

    def due_in_s(self, now: float, every_s: float) -> float:
        """Seconds until the next run may be asked for; 0 when it may be now.  Never more than
        `every_s`."""
        return max(0.0, (1 - self._held(now, every_s)) * every_s)

    def spent(self, now: float, every_s: float) -> "Budget":
        """What is left after a run.  One that was not due takes what there is, and owes nothing:
        the next is due after `every_s` at the latest."""
        return Budget(max(0.0, self._held(now, every_s) - 1), now)

    def cursor(self) -> str:
        """As the sensor keeps it."""
        return f"{_VERSION} {self.tokens:.6f} {self.at:.3f}"

    def _held(self, now: float, every_s: float) -> float:
        # A clock that was put back says nothing of how long it has been.
        if now < self.at:
            return BURST
        # Rounded, so that nobody waits a tick more for a ten-millionth of a token.
        return min(BURST, round(self.tokens + (now - self.at) / every_s, 6))


def budget_in(cursor: str | None) -> Budget:
    """What `cursor` says; a full one when it says nothing, or nothing of ours."""
    match (cursor or "").split():
        case [version, tokens, at] if version == _VERSION:
            return _checked(tokens, at)
    return _FULL


_FULL = Budget(BURST, 0.0)


def _checked(tokens: str, at: str) -> Budget:
    try:
        found = Budget(float(tokens), float(at))
    except ValueError:
        return _FULL
    sound = 0 <= found.tokens <= BURST and math.isfinite(found.at)
    return found if sound else _FULL
