"""The two ids of an exchange (DESIGN.md 5).  Pure but for the randomness and clock passed in."""

import re
from dataclasses import dataclass

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
