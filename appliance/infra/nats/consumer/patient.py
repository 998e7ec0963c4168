"""A BatchWriter that is asked until it answers: PostgreSQL may be away, and a bug stops no batch.

Under `settler.Settler` and `backfill.backfill`.  How long it is waited for says whoever drives.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected, Written

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 5.0
log = logging.getLogger("appliance.consumer")


class Patience(Protocol):
    """How long PostgreSQL is waited for."""

    def well(self) -> None:
        """It answered."""

    async def waits(self, away: PartUnavailable, delay_s: float) -> bool:
        """It is away: return after `delay_s`, or earlier; False gives up.  May raise `away`."""


class PatientWriter:
    """`writer` for the messages of the durable `name`."""

    def __init__(self, name: str, writer: BatchWriter, patience: Patience) -> None:
        self._name = name
        self._writer = writer
        self._patience = patience

    async def write(self, deliveries: Sequence[Delivery]) -> Written | None:
        """What became of them; None when it was given up before the database was there."""
        delay = RETRY_FIRST_S
        while True:
            try:
                written = await self._writer.write(deliveries)
                self._patience.well()
                return written
            except PartUnavailable as exc:
                away = exc
            except Exception as exc:
                log.exception("writer_failed", extra={"durable": self._name})
                return await self._write_singly(deliveries, f"{type(exc).__name__}: {exc}")
            if not await self._patience.waits(away, delay):
                return None
            delay = min(delay * 2, RETRY_MOST_S)

    async def _write_singly(self, deliveries: Sequence[Delivery], why: str) -> Written | None:
        """A writer that fails in a way nobody foresaw is at fault with one message at most."""
        if len(deliveries) == 1:
            return Written(rejected=[Rejected(deliveries[0], why, final=False)])
        whole = Written()
        for delivery in deliveries:
            part = await self.write([delivery])
            if part is None:
                return None
            whole.add(part)
        return whole
