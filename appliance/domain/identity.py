"""The two ids of an exchange (DESIGN.md 5).  Pure but for the randomness and clock passed in."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_CORRELATION = re.compile(r"[A-Za-z0-9._:=@/+-]{1,128}")


@dataclass(frozen=True, slots=True)
class Identity:
    """`trace_id` is ours, one per exchange; `correlation_id` is the caller's thread and may repeat.

    `replaced` says that the caller sent a correlation id we could not take and got ours instead.
    """

    trace_id: str
    correlation_id: str
    replaced: bool = False


def new_trace_id(unix_ms: int, entropy: bytes) -> str:
    """32 hex digits that sort by time: 48 bits of milliseconds, then 80 bits of `entropy` (10
    bytes)."""
    return f"{unix_ms & 0xFFFFFFFFFFFF:012x}{entropy[:10].hex()}"


def began_s(identifier: str) -> float | None:
    """When the exchange of a trace id began, in Unix seconds; None for what is none of ours."""
    if not _TRACE_ID.fullmatch(identifier):
        return None
    return int(identifier[:12], 16) / 1000


class TraceIds:
    """Makes the trace ids of one process.  `wall` gives Unix seconds, `entropy(n)` n bytes: unique
    is enough, nobody must not guess them.

    A clock that is set back does not turn the ids' order: the latest moment holds until it is
    passed again.
    """

    def __init__(self, wall: Callable[[], float], entropy: Callable[[int], bytes]) -> None:
        self._wall = wall
        self._entropy = entropy
        self._latest_ms = 0

    def new(self) -> str:
        """The next one; two of the same millisecond have no order."""
        now_ms = int(self._wall() * 1000)
        if now_ms > self._latest_ms:
            self._latest_ms = now_ms
        return new_trace_id(self._latest_ms, self._entropy(10))


def identify(
    trace_id: str, correlation_header: str | None, request_id_header: str | None
) -> Identity:
    """X-Correlation-ID, else X-Request-ID, else `trace_id`; a hostile value is replaced, never
    repaired."""
    for sent in (correlation_header, request_id_header):
        if sent:
            if _CORRELATION.fullmatch(sent):
                return Identity(trace_id, sent)
            return Identity(trace_id, trace_id, replaced=True)
    return Identity(trace_id, trace_id)
