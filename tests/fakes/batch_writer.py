"""A BatchWriter that remembers, and can be told to wait, to be away, or to fail."""

import asyncio
from collections.abc import Callable, Sequence

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.delivery import Delivery, Rejected, Written


class FakeWriter:
    """`written` are the deliveries in the order they were committed.

    `gate` cleared: a write waits.  `away`: it raises PartUnavailable.  `reject`: why a delivery
    cannot be written, "" when it can; `explode`: it raises an error nobody foresaw for it;
    `unburiable`: so many times it does so when it is to bury.
    """

    def __init__(self) -> None:
        self.written: list[Delivery] = []
        self.batches: list[int] = []
        self.buried: list[Rejected] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        self.reject: Callable[[Delivery], str] = lambda _: ""
        self.explode: Callable[[Delivery], bool] = lambda _: False
        self.unburiable = 0

    @property
    def ids(self) -> list[str]:
        """The event ids of what was written."""
        return [delivery.event_id for delivery in self.written]

    async def write(self, batch: Sequence[Delivery]) -> Written:
        self.begun.set()
        await self.gate.wait()
        if self.away:
            raise PartUnavailable("PostgreSQL: away", part="postgres")
        if any(self.explode(delivery) for delivery in batch):
            raise RuntimeError("a bug")
        rejected = [Rejected(d, why, final=False) for d in batch if (why := self.reject(d))]
        refused = {r.delivery.sequence for r in rejected}
        good = [d for d in batch if d.sequence not in refused]
        self.written += good
        self.batches.append(len(good))
        return Written({"rows": len(good)}, {"rows": len(good)}, rejected=rejected)

    async def bury(self, rejected: Sequence[Rejected]) -> None:
        if self.away:
            raise PartUnavailable("PostgreSQL: away", part="postgres")
        if self.unburiable:
            self.unburiable -= 1
            raise RuntimeError("a bug")
        self.buried += rejected
