"""The consumer role: durable pulls from JetStream, batched idempotent writes into PostgreSQL.

Wires, decides nothing.  It starts without NATS and without PostgreSQL, and waits for them.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.domain.events.durables import DURABLES
from appliance.domain.tasks import ended
from appliance.entrypoints.consumer_ready import ConsumerReadiness
from appliance.entrypoints.options import RunOptions
from appliance.entrypoints.retention import keep_pruned, wanted
from appliance.entrypoints.serve import serve
from appliance.infra.nats.consumer.crew import Crew
from appliance.infra.nats.consumer.lag_watch import LagAlarm, LagWatch
from appliance.infra.nats.consumer.worker import Worker
from appliance.infra.nats.streams import HOUR_S
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from appliance.infra.telemetry.consumer_metrics import ConsumerMetrics
from appliance.infra.telemetry.logs import configure
from appliance.transport.consumer import build_consumer_app


def run(options: RunOptions) -> None:
    """Until SIGTERM or SIGINT; the batches in hand are finished first."""
    config = options.config
    if not config.nats.url:
        raise ConfigError(
            "[nats] url: the consumer needs the address of a NATS server with JetStream"
        )
    if not config.postgres.dsn:
        raise ConfigError("[postgres] dsn: the consumer needs a database")
    configure("consumer", config.log.level)
    role = Role(config)
    if listen := options.listen or config.consumer.listen:
        app = build_consumer_app(role.readiness.report, role.metrics.render)
        serve(app, listen, role.running(), drain=role.stop)
    else:
        uvloop.run(_unserved(role))


class Role:
    """The parts of the role; opened and closed by `running()`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool = PostgresPool(
            config.postgres.dsn,
            max_size=len(DURABLES) + 2,  # each worker, the retention, and whoever asks `/ready`
            connect_timeout_s=config.postgres.connect_timeout_s,
        )
        self.metrics = ConsumerMetrics(durable.name for durable in DURABLES.values())
        workers = [
            Worker(
                durable,
                writer_for(subject, self._pool),
                config.consumer,
                self.metrics,
                time.monotonic,
            )
            for subject, durable in DURABLES.items()
        ]
        alarm = LagAlarm(config.consumer.lag_alarm_h * HOUR_S)
        watch = LagWatch(alarm, self.metrics, wall=time.time, monotonic=time.monotonic)
        self._crew = Crew(config.nats, workers, watch)
        self.readiness = ConsumerReadiness(self._crew, self._pool.ping)

    async def stop(self) -> None:
        """Tell the workers; `running` waits for them."""
        self._crew.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Consume until the end of the block."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._pool)
            if wanted(self._config.retention):
                pruning = keep_pruned(self._pool, self._config.retention, self.metrics.pruned)
                stack.push_async_callback(ended, asyncio.create_task(pruning))
            working = asyncio.create_task(self._crew.run())
            try:
                yield
            finally:
                self._crew.stop()
                await working


async def _unserved(role: Role) -> None:
    """Without `[consumer] listen`: no HTTP."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with role.running():
        await stopped.wait()
