"""What a worker reports of each batch, and to whom."""

from dataclasses import dataclass
from typing import Protocol

from appliance.domain.events.delivery import Written


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch: `events` of it are dealt with (rows or forgotten), the rest was sent
    back for another try or buried.  `duration_s`: until the commit, waiting for the database
    included."""

    written: Written
    events: int
    retried: int
    buried: int
    duration_s: float


class Tally(Protocol):
    """Counts what the workers do."""

    def settled(self, durable: str, settled: Settled) -> None:
        """A batch of `durable` is over."""
