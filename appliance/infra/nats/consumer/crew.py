"""All workers of a consumer process over one connection to NATS, with the watch over their lag."""

import asyncio
import logging
from collections.abc import Sequence

import nats.errors
from nats.aio.client import Client

from appliance.config.schema import NatsConfig
from appliance.domain.tasks import ended
from appliance.infra.nats.connection import connect
from appliance.infra.nats.consumer.kept_streams import KeptStreams
from appliance.infra.nats.consumer.lag_watch import LagWatch
from appliance.infra.nats.consumer.worker import API_TIMEOUT_S, Shared, Worker
from appliance.infra.nats.objects import Payloads

LOOK_EVERY_S = 5.0
# What is not committed by then is delivered again; a supervisor kills after ten seconds.
STOP_S = 8.0
log = logging.getLogger("appliance.consumer")


class Crew:
    """`workers` and their `watch`; none of them can stop another."""

    def __init__(self, config: NatsConfig, workers: Sequence[Worker], watch: LagWatch) -> None:
        self.workers = workers
        self.watch = watch
        self.streams = KeptStreams(config.replicas)
        self._config = config
        self.client: Client | None = None  # of the moment
        self._stop = asyncio.Event()

    @property
    def connected(self) -> bool:
        """To a server that answers."""
        return self.client is not None and self.client.is_connected

    def stop(self) -> None:
        """Finish the batches in hand, then return from `run`."""
        self._stop.set()
        for worker in self.workers:
            worker.stop()

    async def run(self) -> None:
        """Until `stop`; survives every outage."""
        serving = asyncio.create_task(self._run())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self.client is not None:  # else there is nothing to finish
                await asyncio.wait({serving}, timeout=STOP_S)
        finally:
            await ended(serving, stopping)

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._connected()
            except Exception:  # an address that is none, say
                log.exception("consumer_failed")
                await asyncio.sleep(LOOK_EVERY_S)

    async def _connected(self) -> None:
        async with connect(self._config, name="consumer", reconnected=self._reconnected) as client:
            self.client = client
            try:
                await self._serve(client)
            finally:
                self.client = None

    async def _serve(self, client: Client) -> None:
        """Until `stop`, or until the server has closed the connection for good."""
        js = client.jetstream(timeout=API_TIMEOUT_S)
        payloads = Payloads(js, self._config.replicas)
        shared = Shared(client, self.streams, payloads, asyncio.Lock())
        watching = asyncio.create_task(self.watch.run(client))
        looking = asyncio.create_task(self._look_after(client))
        try:
            await asyncio.gather(*(worker.run(shared) for worker in self.workers))
        finally:
            await ended(watching, looking)

    async def _look_after(self, client: Client) -> None:
        """What no worker waits for: a stream that was refused is tried again, so that whoever
        repairs it need not restart us; and a connection that was closed is left."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if client.is_closed:
                self._lose("the server closed the connection")
            elif self.streams.problem:
                try:
                    await self.streams.ensure(client.jetstream(timeout=API_TIMEOUT_S))
                except (nats.errors.Error, OSError):
                    continue  # it is tried again
                except Exception:
                    log.exception("consumer_failed")

    async def _reconnected(self) -> None:
        self._lose("the connection is new")

    def _lose(self, why: str) -> None:
        for worker in self.workers:
            worker.lose(why)
