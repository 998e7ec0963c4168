"""The times an answer tells: when each line was made, and how long it took.  Used by the encoder.

It runs on the clocks it is given, and reads one of them once a line.
"""

import time
from collections.abc import Callable

SECOND_NS = 1_000_000_000


class Instants:
    """Begins when it is made.  The wall clock is read once: a clock that is set while an answer
    streams makes no line older than the one before."""

    __slots__ = ("_monotonic_ns", "_second", "_seconds", "_started_ns", "_wall_ns")

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._started_ns = monotonic_ns()
        self._wall_ns = wall_ns() - self._started_ns
        self._second = -1
        self._seconds = b""

    def stamp(self) -> bytes:
        """Now, as RFC 3339 with nanoseconds: `2026-01-31T12:00:00.123456789Z`."""
        second, rest = divmod(self._wall_ns + self._monotonic_ns(), SECOND_NS)
        if second != self._second:
            self._second = second
            self._seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%09dZ" % (self._seconds, rest)

    def elapsed_ns(self) -> int:
        """Nanoseconds since the beginning; never 0, which this wire takes for not known."""
        return max(1, self._monotonic_ns() - self._started_ns)
