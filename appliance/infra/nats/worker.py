"""Moves one subject from its stream into a BatchWriter: pull, write, ack after the commit.

Whatever is away is waited for: without NATS it opens again, without the database it holds its
batch, tells the server so, and tries again.  What cannot be written becomes a dead letter and never
stops the rest.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client

from appliance.config.schema import ConsumerConfig, NatsConfig
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected
from appliance.infra.nats.connection import connect
from appliance.infra.nats.pull import Pull, Pulled, PullLost
from appliance.infra.nats.streams import ensure_streams

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 5.0
NAK_FIRST_S = 0.25
NAK_MOST_S = 10.0
log = logging.getLogger("appliance.consumer")


@dataclass(slots=True)
class WorkerStats:
    """Counts since the start."""

    written: int = 0
    batches: int = 0
    retried: int = 0
    buried: int = 0


class Worker:
    """`durable` on `stream`, for messages of `subject`."""

    def __init__(
        self,
        stream: str,
        durable: str,
        subject: str,
        writer: BatchWriter,
        nats_config: NatsConfig,
        config: ConsumerConfig,
    ) -> None:
        self.stats = WorkerStats()
        self._stream = stream
        self._durable = durable
        self._subject = subject
        self._writer = writer
        self._nats = nats_config
        self._config = config
        self._stop = asyncio.Event()
        self._pull: Pull | None = None
        self._said = ""

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stop.set()
        if self._pull is not None:
            self._pull.lose("stopping")

    async def run(self) -> None:
        """Until `stop`; survives every outage."""
        serving = asyncio.ensure_future(self._run())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._pull is not None or serving.done():
                await serving
        finally:
            # Where there never was a server there is nothing to finish.
            for task in (serving, stopping):
                task.cancel()
            await asyncio.gather(serving, stopping, return_exceptions=True)

    async def _run(self) -> None:
        async with connect(self._nats, name=self._durable, reconnected=self._reconnected) as client:
            delay = RETRY_FIRST_S
            while not self._stop.is_set():
                try:
                    self._pull = pull = await self._open(client)
                    delay = RETRY_FIRST_S
                    await self._serve(pull)
                except (PullLost, nats.errors.Error, OSError, ApplianceError) as exc:
                    if not self._stop.is_set():
                        self._say("consumer_reopens", str(exc) or type(exc).__name__)
                except Exception:
                    log.exception("consumer_failed")
                await self._sleep(delay)
                delay = min(delay * 2, RETRY_MOST_S)

    async def _open(self, client: Client) -> Pull:
        await ensure_streams(client.jetstream(timeout=5), self._nats.replicas)
        batch = self._config.batch_messages
        pull = Pull(client, self._stream, self._durable, self._subject, batch=batch)
        await pull.open(self._config.ack_wait_s)
        log.info("consumer_ready", extra={"durable": self._durable, "subject": self._subject})
        return pull

    async def _serve(self, pull: Pull) -> None:
        try:
            while not self._stop.is_set():
                if batch := await pull.batch(self._config.batch_wait_s, self._stop):
                    await self._process(pull, batch)
        finally:
            await pull.close()

    async def _process(self, pull: Pull, batch: Sequence[Pulled]) -> None:
        """Write `batch` and ack it; while the database is away, hold on to it."""
        deliveries = [pulled.delivery for pulled in batch]
        async with self._held(pull, batch):
            rejected = await self._write(deliveries)
        if rejected is None:
            for pulled in batch:
                await pull.again(pulled, 0)
            return
        failed = {r.delivery.sequence: r for r in rejected}
        buried = await self._bury(rejected)
        for pulled in batch:
            reject = failed.get(pulled.delivery.sequence)
            if reject is None:
                await pull.ack(pulled)
            elif pulled.delivery.sequence in buried:
                await pull.never(pulled)
            else:
                await pull.again(pulled, self._nak_delay(pulled.delivery))
        self.stats.batches += 1
        self.stats.written += len(batch) - len(failed)
        self.stats.retried += len(failed) - len(buried)
        self.stats.buried += len(buried)

    async def _write(self, deliveries: Sequence[Delivery]) -> list[Rejected] | None:
        """What was rejected; None when it was told to stop before the database was there."""
        delay = RETRY_FIRST_S
        while True:
            try:
                rejected = (await self._writer.write(deliveries)).rejected
                self._say("consumer_writes", "")
                return rejected
            except PartUnavailable as exc:
                self._say("consumer_waits", str(exc))
            await self._sleep(delay)
            if self._stop.is_set():
                return None
            delay = min(delay * 2, RETRY_MOST_S)

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
            self._say("consumer_waits", str(exc))
            return set()
        for reject in final:
            fields = {"event_id": reject.delivery.event_id, "reason": reject.reason}
            log.error("dead_letter", extra={**fields, "sequence": reject.delivery.sequence})
        return {r.delivery.sequence for r in final}

    @asynccontextmanager
    async def _held(self, pull: Pull, batch: Sequence[Pulled]) -> AsyncIterator[None]:
        """Nobody else gets what we hold, however long the database takes."""
        keeping = asyncio.ensure_future(self._keep(pull, batch))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self, pull: Pull, batch: Sequence[Pulled]) -> None:
        while True:
            await asyncio.sleep(self._config.ack_wait_s / 3)
            with suppress(nats.errors.Error, OSError):
                for pulled in [*batch, *pull.waiting()]:
                    await pull.working(pulled)

    async def _reconnected(self) -> None:
        if self._pull is not None:
            self._pull.lose("the connection is new")

    async def _sleep(self, delay_s: float) -> None:
        """Or until told to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)

    def _nak_delay(self, delivery: Delivery) -> float:
        return float(min(NAK_FIRST_S * 2 ** min(delivery.deliveries, 10), NAK_MOST_S))

    def _say(self, event: str, error: str) -> None:
        if error != self._said:
            log.log(logging.WARNING if error else logging.INFO, event, extra={"error": error})
        self._said = error
