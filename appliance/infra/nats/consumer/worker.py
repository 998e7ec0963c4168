"""Moves one subject from its stream into a BatchWriter: pull, write, ack after the commit.

Whatever is away is waited for: a durable or a stream that is gone is made again, without the
database it holds its batch, tells the server so, and tries again.  What becomes of a batch is
`settler.py`; what goes wrong here never stops another worker.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.client import Client

from appliance.config.schema import ConsumerConfig
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.delivery import BatchWriter
from appliance.domain.events.durables import Durable
from appliance.infra.nats.consumer.durable import ensure_durable
from appliance.infra.nats.consumer.kept_streams import KeptStreams
from appliance.infra.nats.consumer.patient import RETRY_FIRST_S, RETRY_MOST_S
from appliance.infra.nats.consumer.pull import Pull, Pulled, PullLost
from appliance.infra.nats.consumer.settler import Settler
from appliance.infra.nats.consumer.tally import Settled, Tally
from appliance.infra.nats.objects import Payloads

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
        self._settler = Settler(durable.name, writer, config, self, monotonic)
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
                        await self._settler.process(pull, found, shared.payloads, nullcontext())
            elif found := await pull.batch(self._config.batch_wait_s, self._stop):
                await self._settler.process(pull, found, shared.payloads, shared.large)

    # What the settler is told and asks; see settler.Driver.

    @property
    def stopping(self) -> bool:
        """See Driver."""
        return self._stop.is_set()

    def well(self) -> None:
        """See Patience."""
        self._say("consumer_writes", "")
        self.problem = ""

    def trouble(self, error: str) -> None:
        """See Driver."""
        self._say("consumer_waits", error)

    async def waits(self, away: PartUnavailable, delay_s: float) -> bool:
        """See Patience: as long as it takes, until told to stop."""
        self._say("consumer_waits", str(away))
        self.problem = f"waits: {away}"
        await self._sleep(delay_s)
        return not self._stop.is_set()

    async def committed(self, settled: Settled, done: Sequence[Pulled]) -> None:
        """See Driver."""
        self._tally.settled(self.durable.name, settled)

    async def _sleep(self, delay_s: float) -> None:
        """Or until told to stop, or the connection is new."""
        self._wake.clear()
        if not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()

    def _say(self, event: str, error: str) -> None:
        if error != self._said:
            fields = {"durable": self.durable.name, "error": error}
            log.log(logging.WARNING if error else logging.INFO, event, extra=fields)
        self._said = error
