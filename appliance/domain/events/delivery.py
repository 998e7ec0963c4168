"""One message of a stream as a writer gets it, and what a writer says of those it could not
write."""

from collections.abc import Sequence
from dataclasses import dataclass
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


class BatchWriter(Protocol):
    """Writes a batch of one subject's messages, each exactly once in effect."""

    async def write(self, batch: Sequence[Delivery]) -> list[Rejected]:
        """All of them in one transaction; what cannot be written does not stop the others.

        Raises PartUnavailable when nothing can be written now; then the whole batch may be tried
        again.
        """

    async def bury(self, rejected: Sequence[Rejected]) -> None:
        """Keep them as dead letters.  Raises PartUnavailable."""
