"""The consumer role: durable pulls from JetStream, batched idempotent writes into PostgreSQL.

Plain asyncio, no HTTP.  It starts without NATS and without PostgreSQL, and waits for them.
"""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import uvloop

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.domain.events.chat import PERSIST
from appliance.entrypoints.options import RunOptions
from appliance.infra.nats.streams import PIPELINE
from appliance.infra.nats.worker import Worker
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from appliance.infra.telemetry.logs import configure


@dataclass(frozen=True, slots=True)
class Durable:
    """A durable consumer of the appliance: its stream and the subject it is filtered to."""

    stream: str
    subject: str


DURABLES: Mapping[str, Durable] = {"chat_persist": Durable(PIPELINE, PERSIST)}


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
                d.stream, name, d.subject, writer_for(d.subject, pool), config.nats, config.consumer
            )
            for name, d in DURABLES.items()
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, workers)
        async with asyncio.TaskGroup() as running:
            for worker in workers:
                running.create_task(worker.run())


def _stop(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()
