"""What the spool says about itself, for metrics, `/ready` and `appliance status`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """Depth is what is kept and not acked, adopted records included; the rest counts since the
    start.

    `oldest_age_s` is an upper bound.  `deduplicated`: messages the stream already had.  `not_kept`:
    exchanges refused because the disk or the spool was full.  `torn`: pieces a killed writer left
    (never accepted ones).
    """

    depth_records: int
    depth_bytes: int
    oldest_age_s: float
    shipped: int
    deduplicated: int
    not_kept: int
    poisoned: int
    torn: int
    last_error: str


@dataclass(slots=True)
class Counters:
    """The counting half, changed by the spool alone."""

    shipped: int = 0
    deduplicated: int = 0
    not_kept: int = 0
    poisoned: int = 0
    torn: int = 0
    last_error: str = ""
