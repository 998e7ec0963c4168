import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.js.api import StorageType, StreamConfig

from appliance.config.schema import NatsConfig, SpoolConfig
from appliance.infra.nats.shipper import Shipper
from appliance.infra.spool.folder import process_folders
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange
from tests.fakes.jetstream import count, stored
from tests.fixtures_nats import NatsServer

FAST = SpoolConfig(sync_interval_s=0.02)


@asynccontextmanager
async def _shipping(directory: Path, server: NatsServer) -> AsyncIterator[Spool]:
    async with Spool(directory, FAST) as spool, Shipper(spool, server.config, "desk"):
        yield spool


async def _empty(spool: Spool, timeout_s: float = 20.0) -> None:
    """Everything kept is acked."""
    for _ in range(int(timeout_s / 0.01)):
        if not spool.stats().depth_records:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(spool.stats())


async def test_an_exchange_reaches_both_streams_once(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        for number in range(300):
            assert spool.keep(exchange(number))
        await _empty(spool)
        assert spool.stats().shipped == 300
    persisted = await stored(nats_server)
    assert [event["trace_id"] for event in persisted] == [
        exchange(number).trace_id for number in range(300)
    ]
    assert persisted[7]["answer"] == "answer 7"
    assert await count(nats_server, "TELEMETRY") == 300


async def test_without_an_address_records_wait(tmp_path: Path) -> None:
    async with Spool(tmp_path, FAST) as spool, Shipper(spool, NatsConfig(), "desk") as shipper:
        spool.keep(exchange(1))
        await asyncio.sleep(0.1)
        assert (spool.stats().depth_records, shipper.connected) == (1, False)


async def test_a_gateway_starts_and_keeps_without_nats_and_ships_when_it_is_there(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    nats_server.kill()
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        for number in range(20):
            assert spool.keep(exchange(number))
        await asyncio.sleep(0.5)
        nats_server.start()
        await _empty(spool)
    assert await count(nats_server) == 20


async def _outage(
    directory: Path,
    server: NatsServer,
    begin: Callable[[], None],
    end: Callable[[], None],
    during_s: float,
) -> None:
    """One exchange each millisecond or so, with the server away in the middle; none is lost or
    twice."""
    async with _shipping(directory, server) as spool:
        for number in range(600):
            assert spool.keep(exchange(number))
            if number == 200:
                begin()
            if number == 400:
                await asyncio.sleep(during_s)
                end()
            await asyncio.sleep(0.001)
        await _empty(spool, 30)
    persisted = [event["trace_id"] for event in await stored(server)]
    assert sorted(persisted) == [exchange(number).trace_id for number in range(600)]


async def test_a_killed_server_loses_and_doubles_nothing(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    await _outage(tmp_path / "spool", nats_server, nats_server.kill, nats_server.start, 0.5)


async def test_a_frozen_server_stops_the_shipper_and_nothing_else(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    def freeze() -> None:
        nats_server.signal(signal.SIGSTOP)

    def thaw() -> None:
        nats_server.signal(signal.SIGCONT)

    await _outage(tmp_path / "spool", nats_server, freeze, thaw, 8.0)


KILLED = """
import asyncio, os, sys
from pathlib import Path
from appliance.config.schema import NatsConfig, SpoolConfig
from appliance.infra.nats.shipper import Shipper
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange

async def main():
    config = NatsConfig(url=sys.argv[2], token=sys.argv[3])
    async with Spool(Path(sys.argv[1]), SpoolConfig()) as spool, Shipper(spool, config, "desk"):
        await asyncio.sleep(0.3)
        for number in range(1000):
            assert spool.keep(exchange(number))
            if number % 10 == 0:
                await asyncio.sleep(0)
            if number % 100 == 0:
                await asyncio.sleep(0.02)
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_what_a_killed_gateway_kept_is_shipped_by_the_next_exactly_once(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    words = [str(tmp_path / "spool"), nats_server.config.url, nats_server.config.token]
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, *words])
    assert done.returncode == -9
    before = await count(nats_server)
    assert 0 < before <= 1000
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        await asyncio.sleep(0.2)
        await _empty(spool)
    persisted = [event["trace_id"] for event in await stored(nats_server)]
    assert sorted(persisted) == [exchange(number).trace_id for number in range(1000)]
    assert process_folders(tmp_path / "spool") == []


async def test_a_record_above_the_servers_limit_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        for number, size in enumerate((100, 1024 * 1024, 100)):
            assert spool.keep(exchange(number, size=size))
        await _empty(spool)
        assert (spool.stats().poisoned, spool.stats().shipped) == (1, 2)
    assert await count(nats_server) == 2


async def test_a_stream_deleted_by_hand_is_made_again(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        spool.keep(exchange(1))
        await _empty(spool)
        client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
        await client.jetstream().delete_stream("PIPELINE")
        await client.close()
        spool.keep(exchange(2))
        await _empty(spool)
    assert [event["trace_id"] for event in await stored(nats_server)] == [exchange(2).trace_id]


async def test_a_stream_that_refuses_makes_records_wait_and_says_why(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    js = client.jetstream()

    async def limit(messages: int) -> None:
        config = (await js.stream_info("PIPELINE")).config
        await js.update_stream(config.evolve(max_msgs=messages))

    async with Spool(tmp_path, FAST) as spool, Shipper(spool, nats_server.config, "d") as shipper:
        spool.keep(exchange(0))
        await _empty(spool)
        await limit(2)
        for number in range(1, 5):
            spool.keep(exchange(number))
        await asyncio.sleep(0.5)
        assert spool.stats().depth_records == 3
        assert "maximum messages" in shipper.last_error
        await limit(-1)
        await _empty(spool)
    assert len(await stored(nats_server)) == 5
    await client.close()


async def test_a_stream_that_cannot_be_used_is_named(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    await client.jetstream().add_stream(
        StreamConfig(name="PIPELINE", subjects=["pipeline.>"], storage=StorageType.MEMORY)
    )
    await client.close()
    async with Spool(tmp_path, FAST) as spool, Shipper(spool, nats_server.config, "d") as shipper:
        spool.keep(exchange(1))
        await _waits(lambda: "PIPELINE exists with" in shipper.last_error)
        assert spool.stats().depth_records == 1


async def _waits(claim: Callable[[], bool]) -> None:
    for _ in range(500):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


async def test_a_wrong_token_makes_records_wait_and_the_start_does_not(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    wrong = NatsConfig(url=nats_server.config.url, token="wrong")
    async with Spool(tmp_path, FAST) as spool, Shipper(spool, wrong, "desk") as shipper:
        assert spool.keep(exchange(1))
        await asyncio.sleep(1)
        assert not shipper.connected
        assert shipper.last_error
        assert spool.stats().depth_records == 1
