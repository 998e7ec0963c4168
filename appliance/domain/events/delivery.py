"""One message of a stream as a writer gets it, and what a writer says of those it could not
write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """`sequence` is its place in `stream`; `deliveries` counts how often it was handed out, from
    1."""

    stream: str
    subject: str
    sequence: int
    deliveries: int
    event_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """`delivery` was not written because of `reason`; `final`: no further try can succeed."""

    delivery: Delivery
    reason: str
    final: bool


@dataclass(slots=True)
class Written:
    """What became of a batch.  Rows by table: `offered` is what its events are, `inserted` those of
    them that were not there before; `forgotten` counts events whose ids somebody asked to forget:
    they are done with, without a row."""

    offered: dict[str, int] = field(default_factory=dict)
    inserted: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, other: "Written") -> None:
        """Take in what became of another batch."""
        for mine, theirs in ((self.offered, other.offered), (self.inserted, other.inserted)):
            for table, count in theirs.items():
                mine[table] = mine.get(table, 0) + count
        self.forgotten += other.forgotten
        self.rejected += other.rejected


class BatchWriter(Protocol):
    """Writes a batch of one subject's messages, each exactly once in effect."""

    async def write(self, batch: Sequence[Delivery]) -> Written:
        """All of them in one transaction; what cannot be written does not stop the others.

        Raises PartUnavailable when nothing can be written now; then the whole batch may be tried
        again.
        """

    async def bury(self, rejected: Sequence[Rejected]) -> None:
        """Keep them as dead letters.  Raises PartUnavailable."""
