"""Settles what was pulled: write it, bury what cannot be written, ack after the commit.

Under `worker.Worker` (the consumer role) and `drain.drain` (a run of Dagster), which decide what to
pull, how long PostgreSQL is waited for, and who is told.  Never acks what is not committed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Protocol

import nats.errors

from appliance.config.schema import ConsumerConfig
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected, Written
from appliance.domain.tasks import ended
from appliance.infra.nats.consumer.patient import Patience, PatientWriter
from appliance.infra.nats.consumer.pull import Pull, Pulled
from appliance.infra.nats.consumer.tally import Settled
from appliance.infra.nats.objects import PayloadGone, Payloads, is_reference

NAK_FIRST_S = 0.25
NAK_MOST_S = 10.0
log = logging.getLogger("appliance.consumer")


class Driver(Patience, Protocol):
    """Whoever has batches settled."""

    @property
    def stopping(self) -> bool:
        """Begin nothing that takes long: give back what is not begun."""

    def trouble(self, error: str) -> None:
        """A message is sent back because of it, and tried again later."""

    async def committed(self, settled: Settled, done: Sequence[Pulled]) -> None:
        """`done` are rows, forgotten or buried now (then they are among `settled.written.rejected`
        as well).  Awaited before their acks: when it raises, they are not acked."""


class Settler:
    """Of the batches of the durable `name`, for `driver`, one batch at a time; `monotonic` times
    them."""

    def __init__(
        self,
        name: str,
        writer: BatchWriter,
        config: ConsumerConfig,
        driver: Driver,
        monotonic: Callable[[], float],
    ) -> None:
        self._name = name
        self._writer = writer
        self._patient = PatientWriter(name, writer, driver)
        self._config = config
        self._driver = driver
        self._monotonic = monotonic
        self._hand: dict[str, Pulled] = {}  # neither acked nor sent back, by where its ack goes

    async def process(
        self,
        pull: Pull,
        batch: Sequence[Pulled],
        payloads: Payloads,
        large: AbstractAsyncContextManager[object],
    ) -> None:
        """All of `batch`: what is whole in one write, each reference in one of its own, its body
        in memory only for that long and under `large`.

        Raises nats errors and what the driver raises: then `give_back` has what is left.
        """
        whole: list[Pulled] = []
        references: list[Pulled] = []
        for pulled in batch:
            (references if is_reference(pulled.delivery.data) else whole).append(pulled)
        self._hand = {pulled.reply: pulled for pulled in batch}
        async with self._held(pull):
            if whole:
                await self._settle(pull, whole, [pulled.delivery for pulled in whole])
            for pulled in references:
                async with large:
                    if self._driver.stopping:
                        await self._again(pull, pulled, 0)
                    else:
                        await self._settle_reference(pull, pulled, payloads)

    async def give_back(self, pull: Pull) -> None:
        """Whoever asks next gets what is left in hand, at once."""
        for pulled in list(self._hand.values()):
            await self._again(pull, pulled, 0)

    async def _settle_reference(self, pull: Pull, pulled: Pulled, payloads: Payloads) -> None:
        delivery = pulled.delivery
        try:
            body = await payloads.resolve(delivery.data)
        except PayloadGone as exc:
            gone = Rejected(delivery, f"its payload is gone: {exc}", final=True)
            await self._conclude(pull, [pulled], Written(rejected=[gone]), 0.0)
        except (nats.errors.Error, OSError, ApplianceError) as exc:
            self._driver.trouble(f"payload: {str(exc) or type(exc).__name__}")
            await self._again(pull, pulled, _nak_delay(delivery))
        else:
            await self._settle(pull, [pulled], [replace(delivery, data=body)])

    async def _settle(
        self, pull: Pull, batch: Sequence[Pulled], deliveries: Sequence[Delivery]
    ) -> None:
        """Write `deliveries`, the content of `batch`, and ack; while the database is away, hold on
        to them."""
        began = self._monotonic()
        written = await self._patient.write(deliveries)
        if written is None:
            await pull.close()  # or it would be us again who get them
            for pulled in batch:
                await self._again(pull, pulled, 0)
            return
        await self._conclude(pull, batch, written, self._monotonic() - began)

    async def _conclude(
        self, pull: Pull, batch: Sequence[Pulled], written: Written, duration_s: float
    ) -> None:
        """It is committed: ack, bury or send back each of `batch`."""
        failed = {r.delivery.sequence for r in written.rejected}
        buried = await self._bury(written.rejected)
        settled = Settled(
            written,
            events=len(batch) - len(failed),
            retried=len(failed) - len(buried),
            buried=len(buried),
            duration_s=duration_s,
        )
        left = failed - buried
        # Told before the acks: a connection that breaks here undoes no row.
        await self._driver.committed(settled, [p for p in batch if p.delivery.sequence not in left])
        for pulled in batch:
            if pulled.delivery.sequence in left:
                await self._again(pull, pulled, _nak_delay(pulled.delivery))
                continue
            await (pull.never if pulled.delivery.sequence in buried else pull.ack)(pulled)
            self._hand.pop(pulled.reply, None)

    async def _again(self, pull: Pull, pulled: Pulled, delay_s: float) -> None:
        await pull.again(pulled, delay_s)
        self._hand.pop(pulled.reply, None)

    async def _bury(self, rejected: Sequence[Rejected]) -> set[int]:
        """Sequences of those that are dead letters now."""
        final = [
            r for r in rejected if r.final or r.delivery.deliveries >= self._config.max_deliver
        ]
        if not final:
            return set()
        try:
            await self._writer.bury(final)
        except PartUnavailable as exc:
            self._driver.trouble(str(exc))
            return set()
        except Exception:  # it comes again; the rest of its batch is committed and must be acked
            log.exception("dead_letter_failed", extra={"durable": self._name})
            return set()
        for reject in final:
            fields = {"event_id": reject.delivery.event_id, "reason": reject.reason}
            log.error("dead_letter", extra={**fields, "sequence": reject.delivery.sequence})
        return {r.delivery.sequence for r in final}

    @asynccontextmanager
    async def _held(self, pull: Pull) -> AsyncIterator[None]:
        """Nobody else gets what we hold, however long the database takes."""
        keeping = asyncio.create_task(self._keep(pull))
        try:
            yield
        finally:
            await ended(keeping)

    async def _keep(self, pull: Pull) -> None:
        while True:
            await asyncio.sleep(self._config.ack_wait_s / 3)
            with suppress(nats.errors.Error, OSError):
                for pulled in [*self._hand.values(), *pull.waiting()]:
                    await pull.working(pulled)


def _nak_delay(delivery: Delivery) -> float:
    return float(min(NAK_FIRST_S * 2 ** min(delivery.deliveries, 10), NAK_MOST_S))
