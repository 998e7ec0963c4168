"""The consumer role: durable pulls from JetStream, batched idempotent writes into PostgreSQL.

Plain asyncio, no HTTP.  It starts without NATS and without PostgreSQL, and waits for them.
"""

import asyncio
import signal
from collections.abc import Sequence

import uvloop

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.domain.events.durables import DURABLES
from appliance.entrypoints.options import RunOptions
from appliance.infra.nats.worker import Worker
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import WRITERS, writer_for
from appliance.infra.telemetry.logs import configure


def run(options: RunOptions) -> None:
    """Until SIGTERM or SIGINT; a batch in hand is finished first."""
    config = options.config
    if not config.nats.url:
        raise ConfigError(
            "[nats] url: the consumer needs the address of a NATS server with JetStream"
        )
    if not config.postgres.dsn:
        raise ConfigError("[postgres] dsn: the consumer needs a database")
    configure("consumer", config.log.level)
    uvloop.run(_consume(config))


async def _consume(config: Config) -> None:
    loop = asyncio.get_running_loop()
    async with PostgresPool(
        config.postgres.dsn,
        max_size=len(DURABLES) + 1,
        connect_timeout_s=config.postgres.connect_timeout_s,
    ) as pool:
        workers = [
            Worker(
                d.stream, d.name, subject, writer_for(subject, pool), config.nats, config.consumer
            )
            for subject, d in DURABLES.items()
            if subject in WRITERS
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, workers)
        async with asyncio.TaskGroup() as running:
            for worker in workers:
                running.create_task(worker.run())


def _stop(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()
