"""Moves one subject from its stream into a BatchWriter: pull, write, ack after the commit.

Whatever is away is waited for: a durable or a stream that is gone is made again, without the
database it holds its batch, tells the server so, and tries again.  What cannot be written becomes a
dead letter and never stops the rest; what goes wrong here never stops another worker.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace

import nats.errors
from nats.aio.client import Client

from appliance.config.schema import ConsumerConfig
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.delivery import BatchWriter, Delivery, Rejected, Written
from appliance.domain.events.durables import Durable
from appliance.infra.nats.consumer.durable import ensure_durable
from appliance.infra.nats.consumer.kept_streams import KeptStreams
from appliance.infra.nats.consumer.pull import Pull, Pulled, PullLost
from appliance.infra.nats.consumer.tally import Settled, Tally
from appliance.infra.nats.objects import PayloadGone, Payloads, is_reference
from appliance.infra.tasks import ended

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 5.0
NAK_FIRST_S = 0.25
NAK_MOST_S = 10.0
API_TIMEOUT_S = 5.0
log = logging.getLogger("appliance.consumer")


@dataclass(frozen=True, slots=True)
class Shared:
    """What the workers of one process have in common.  `large` is held by whoever has a body in
    memory that is no part of an ordinary request: there is one such at a time."""

    client: Client
    streams: KeptStreams
    payloads: Payloads
    large: asyncio.Lock


class Worker:
    """Serves `durable` with `writer`; `monotonic` times the batches."""

    def __init__(
        self,
        durable: Durable,
        writer: BatchWriter,
        config: ConsumerConfig,
        tally: Tally,
        monotonic: Callable[[], float],
    ) -> None:
        self.durable = durable
        self.problem = "not started"  # "" while it consumes
        self._writer = writer
        self._config = config
        self._tally = tally
        self._monotonic = monotonic
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()  # something is new: do not sleep on
        self._pull: Pull | None = None
        self._said = ""

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stop.set()
        self.lose("stopping")

    def lose(self, reason: str) -> None:
        """The connection is new, or not to be used any more: ask again."""
        self._wake.set()
        if self._pull is not None:
            self._pull.lose(reason)

    async def run(self, shared: Shared) -> None:
        """Until `stop`, or until the client is closed for good; survives every outage."""
        delay = RETRY_FIRST_S
        while not self._stop.is_set() and not shared.client.is_closed:
            began = self._monotonic()
            try:
                async with self._opened(shared) as pull:
                    await self._serve(pull, shared)
            except (PullLost, nats.errors.Error, OSError, ApplianceError) as exc:
                self._lost(str(exc) or type(exc).__name__)
            except Exception as exc:
                self.problem = f"{type(exc).__name__}: {exc}"
                log.exception("consumer_failed", extra={"durable": self.durable.name})
            if self._monotonic() - began > RETRY_MOST_S:
                delay = RETRY_FIRST_S
            await self._sleep(delay)
            delay = min(delay * 2, RETRY_MOST_S)

    def _lost(self, why: str) -> None:
        self.problem = why
        if not self._stop.is_set():
            self._say("consumer_reopens", why)

    @asynccontextmanager
    async def _opened(self, shared: Shared) -> AsyncIterator[Pull]:
        """A pull that listens; its durable and stream are there."""
        if not shared.client.is_connected:
            raise PullLost("NATS is not connected")
        js = shared.client.jetstream(timeout=API_TIMEOUT_S)
        await shared.streams.ensure(js)
        batch, ack_wait_s = self._config.batch_messages, self._config.ack_wait_s
        await ensure_durable(js, self.durable, ack_wait_s=ack_wait_s, batch=batch)
        self._pull = pull = Pull(shared.client, self.durable, batch=batch)
        try:
            await pull.open()
            self.problem = ""
            fields = {"durable": self.durable.name, "subject": self.durable.subject}
            log.info("consumer_ready", extra=fields)
            yield pull
        finally:
            await pull.close()

    async def _serve(self, pull: Pull, shared: Shared) -> None:
        while not self._stop.is_set():
            if pull.large:
                async with shared.large:
                    if found := await pull.one(self._stop):
                        await self._process(pull, found, shared.payloads, nullcontext())
            elif found := await pull.batch(self._config.batch_wait_s, self._stop):
                await self._process(pull, found, shared.payloads, shared.large)

    async def _process(
        self,
        pull: Pull,
        batch: Sequence[Pulled],
        payloads: Payloads,
        large: AbstractAsyncContextManager[object],
    ) -> None:
        """All of `batch`: what is whole in one write, each reference in one of its own, its body
        in memory only for that long and under `large`."""
        whole: list[Pulled] = []
        references: list[Pulled] = []
        for pulled in batch:
            (references if is_reference(pulled.delivery.data) else whole).append(pulled)
        async with self._held(pull, batch):
            if whole:
                await self._settle(pull, whole, [pulled.delivery for pulled in whole])
            for pulled in references:
                async with large:
                    if self._stop.is_set():
                        await pull.again(pulled, 0)
                    else:
                        await self._settle_reference(pull, pulled, payloads)

    async def _settle_reference(self, pull: Pull, pulled: Pulled, payloads: Payloads) -> None:
        delivery = pulled.delivery
        try:
            body = await payloads.resolve(delivery.data)
        except PayloadGone as exc:
            gone = Rejected(delivery, f"its payload is gone: {exc}", final=True)
            await self._conclude(pull, [pulled], Written(rejected=[gone]), 0.0)
        except (nats.errors.Error, OSError, ApplianceError) as exc:
            self._say("consumer_waits", f"payload: {str(exc) or type(exc).__name__}")
            await pull.again(pulled, self._nak_delay(delivery))
        else:
            await self._settle(pull, [pulled], [replace(delivery, data=body)])

    async def _settle(
        self, pull: Pull, batch: Sequence[Pulled], deliveries: Sequence[Delivery]
    ) -> None:
        """Write `deliveries`, the content of `batch`, and ack; while the database is away, hold on
        to them."""
        began = self._monotonic()
        written = await self._write(deliveries)
        if written is None:
            await pull.close()  # or it would be us again who get them
            for pulled in batch:
                await pull.again(pulled, 0)
            return
        await self._conclude(pull, batch, written, self._monotonic() - began)

    async def _conclude(
        self, pull: Pull, batch: Sequence[Pulled], written: Written, duration_s: float
    ) -> None:
        """It is committed: ack, bury or send back each of `batch`."""
        failed = {r.delivery.sequence: r for r in written.rejected}
        buried = await self._bury(written.rejected)
        # Counted before the acks: a connection that breaks here undoes no row.
        settled = Settled(
            written,
            events=len(batch) - len(failed),
            retried=len(failed) - len(buried),
            buried=len(buried),
            duration_s=duration_s,
        )
        self._tally.settled(self.durable.name, settled)
        for pulled in batch:
            reject = failed.get(pulled.delivery.sequence)
            if reject is None:
                await pull.ack(pulled)
            elif pulled.delivery.sequence in buried:
                await pull.never(pulled)
            else:
                await pull.again(pulled, self._nak_delay(pulled.delivery))

    async def _write(self, deliveries: Sequence[Delivery]) -> Written | None:
        """What became of them; None when it was told to stop before the database was there."""
        delay = RETRY_FIRST_S
        while True:
            try:
                written = await self._writer.write(deliveries)
                self._say("consumer_writes", "")
                self.problem = ""
                return written
            except PartUnavailable as exc:
                self._say("consumer_waits", str(exc))
                self.problem = f"waits: {exc}"
            except Exception as exc:
                log.exception("writer_failed", extra={"durable": self.durable.name})
                return await self._write_singly(deliveries, f"{type(exc).__name__}: {exc}")
            await self._sleep(delay)
            if self._stop.is_set():
                return None
            delay = min(delay * 2, RETRY_MOST_S)

    async def _write_singly(self, deliveries: Sequence[Delivery], why: str) -> Written | None:
        """A writer that fails in a way nobody foresaw is at fault with one message at most."""
        if len(deliveries) == 1:
            return Written(rejected=[Rejected(deliveries[0], why, final=False)])
        whole = Written()
        for delivery in deliveries:
            part = await self._write([delivery])
            if part is None:
                return None
            whole.add(part)
        return whole

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
        except Exception:  # it comes again; the rest of its batch is committed and must be acked
            log.exception("dead_letter_failed", extra={"durable": self.durable.name})
            return set()
        for reject in final:
            fields = {"event_id": reject.delivery.event_id, "reason": reject.reason}
            log.error("dead_letter", extra={**fields, "sequence": reject.delivery.sequence})
        return {r.delivery.sequence for r in final}

    @asynccontextmanager
    async def _held(self, pull: Pull, batch: Sequence[Pulled]) -> AsyncIterator[None]:
        """Nobody else gets what we hold, however long the database takes."""
        keeping = asyncio.create_task(self._keep(pull, batch))
        try:
            yield
        finally:
            await ended(keeping)

    async def _keep(self, pull: Pull, batch: Sequence[Pulled]) -> None:
        while True:
            await asyncio.sleep(self._config.ack_wait_s / 3)
            with suppress(nats.errors.Error, OSError):
                for pulled in [*batch, *pull.waiting()]:
                    await pull.working(pulled)

    async def _sleep(self, delay_s: float) -> None:
        """Or until told to stop, or the connection is new."""
        self._wake.clear()
        if not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()

    def _nak_delay(self, delivery: Delivery) -> float:
        return float(min(NAK_FIRST_S * 2 ** min(delivery.deliveries, 10), NAK_MOST_S))

    def _say(self, event: str, error: str) -> None:
        if error != self._said:
            fields = {"durable": self.durable.name, "error": error}
            log.log(logging.WARNING if error else logging.INFO, event, extra=fields)
        self._said = error
