"""A backlog lies on the disk and in the stream: neither the gateway nor the consumer grows with it.

`APPLIANCE_BACKLOG_EVENTS=200000` measures a longer one; the figures are printed.
"""

import os
import time
from pathlib import Path

import psycopg

from appliance.config.schema import SpoolConfig
from appliance.domain.events.topics import KEPT, events_of
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange
from tests.fakes.processes import memory
from tests.fakes.rig import Nats, Rig
from tests.fakes.scripted_backend import ScriptedBackend

EVENTS = int(os.environ.get("APPLIANCE_BACKLOG_EVENTS", "20000"))
PROMPT_CHARACTERS = 8000
EVENTS_EACH = sum(event.subject.startswith(KEPT) for event in events_of(exchange(0)))
EXCHANGES = EVENTS // EVENTS_EACH
MIB = 1024 * 1024
# Windows of what is under way: 8 MiB of the shipper's, a batch and the next of each of 7 workers,
# each as bytes, as values and as rows.  A backlog of 20 000 events is 45 MiB as bytes alone.
GATEWAY_BOUND_BYTES = 32 * MIB
CONSUMER_BOUND_BYTES = 96 * MIB
PER_EVENT_S = 0.01


async def test_a_backlog_is_not_held_in_memory(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    limit_s = 30 + EVENTS * PER_EVENT_S
    with Nats(tmp_path) as nats:
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with rig.consumer() as consumer:
            with rig.gateway() as gateway:
                gateway.wait_part("nats", ok=True)
                empty, _ = memory(gateway.pid)
            consumer.wait_log("consumer_ready")
            idle, _ = memory(consumer.pid)
        await _leave_behind(rig.spool)
        nats.kill()
        with rig.gateway() as gateway:
            gateway.wait_waiting(EXCHANGES)
            waiting, _ = memory(gateway.pid)
            nats.start()
            gateway.wait_shipped(limit_s)
            _, shipping = memory(gateway.pid)
        with rig.consumer() as consumer:
            _wait_pairs(dsn, EXCHANGES, limit_s)
            _, consuming = memory(consumer.pid)
    print(
        f"\n{EVENTS} events: gateway {_mib(empty)} empty, {_mib(waiting)} with them waiting, "
        f"{_mib(shipping)} at most; consumer {_mib(idle)} idle, {_mib(consuming)} at most"
    )
    assert max(waiting, shipping) - empty < GATEWAY_BOUND_BYTES
    assert consuming - idle < CONSUMER_BOUND_BYTES


async def _leave_behind(folder: Path) -> None:
    """What a gateway that died without NATS left in its spool."""
    async with Spool(folder, SpoolConfig(max_bytes=64 * 1024 * MIB)) as spool:
        for number in range(EXCHANGES):
            assert spool.keep(exchange(number, size=PROMPT_CHARACTERS))


def _wait_pairs(dsn: str, count: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    with psycopg.connect(dsn, autocommit=True) as connection:
        while (found := _pairs(connection)) < count:
            assert time.monotonic() < deadline, f"{found} of {count} pairs after {timeout_s:g} s"
            time.sleep(0.1)


def _pairs(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM chat_pairs").fetchone()
    assert row is not None
    return int(row[0])


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
