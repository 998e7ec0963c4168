"""A process that drains Dagster's durable of chat events and hangs after its first commit.

    python -m tests.fakes.drain_and_hang ACK_WAIT_S   (with NATS_URL, NATS_TOKEN and POSTGRES_DSN)

It says `committed` between the commit and the acks, and waits there to be killed.
"""

import asyncio
import os
import sys

from appliance.config.schema import ConsumerConfig, NatsConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.infra.nats.consumer.drain import drain
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for


async def _hang(batch: Drained) -> None:
    print("committed", batch.events, flush=True)
    await asyncio.Event().wait()


async def _main() -> None:
    nats = NatsConfig(url=os.environ["NATS_URL"], token=os.environ["NATS_TOKEN"])
    settings = ConsumerConfig(batch_messages=50, ack_wait_s=float(sys.argv[1]))
    async with PostgresPool(os.environ["POSTGRES_DSN"]) as pool:
        await drain(
            nats,
            of_dagster(DURABLES[PERSIST]),
            writer_for(PERSIST, pool),
            consumer=settings,
            most_events=100_000,
            settled=_hang,
        )


if __name__ == "__main__":
    asyncio.run(_main())
