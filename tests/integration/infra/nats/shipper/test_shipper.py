import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from appliance.config.schema import NatsConfig, SpoolConfig
from appliance.domain.events.chat import PERSIST, ChatPersist
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import KEPT as PIPELINE_SUBJECTS
from appliance.domain.events.topics import events_of
from appliance.infra.nats.objects import Payloads
from appliance.infra.nats.shipper.messages import messages_of
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.spool.folder import claim, process_folders
from appliance.infra.spool.frames import frame
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange
from tests.fakes.jetstream import count, stored
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsCluster, NatsServer

FAST = SpoolConfig(sync_interval_s=0.02)
_SUBJECTS = [event.subject for event in events_of(exchange(0))]
KEPT = sum(subject.startswith(PIPELINE_SUBJECTS) for subject in _SUBJECTS)
MEASURES = len(_SUBJECTS) - KEPT


@asynccontextmanager
async def _shipping(directory: Path, server: NatsServer) -> AsyncIterator[Spool]:
    async with Spool(directory, FAST) as spool, Shipper(spool, server.config, "desk"):
        yield spool


async def _persisted(server: NatsServer) -> list[dict[str, Any]]:
    """What became of the exchanges, one event each, as the stream has them."""
    return [e for e in await stored(server) if e["schema"] == ChatPersist.schema]


def _ids(count: int) -> list[str]:
    return [exchange(number).trace_id for number in range(count)]


def in_order(events: list[dict[str, Any]]) -> bool:
    """Each conversation is as it was; `exchange` numbers its trace ids."""
    last: dict[str, str] = {}
    for event in events:
        if last.get(event["conversation_id"], "") >= event["trace_id"]:
            return False
        last[event["conversation_id"]] = event["trace_id"]
    return True


async def _empty(spool: Spool, timeout_s: float = WAIT_S) -> None:
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
    persisted = await _persisted(nats_server)
    assert sorted(event["trace_id"] for event in persisted) == _ids(300)
    assert in_order(persisted)
    assert persisted[0]["answer"] == "answer 0"
    assert await count(nats_server) == 300 * KEPT
    assert await count(nats_server, "TELEMETRY") == 300 * MEASURES


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
    assert await count(nats_server) == 20 * KEPT


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
        await _empty(spool)
    events = await stored(server)
    assert len(events) == len({event["event_id"] for event in events}) == 600 * KEPT
    persisted = await _persisted(server)
    assert sorted(event["trace_id"] for event in persisted) == _ids(600)
    assert in_order(persisted)


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
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange

async def main():
    config = NatsConfig(url=sys.argv[2], token=sys.argv[3])
    async with Spool(Path(sys.argv[1]), SpoolConfig()) as spool, Shipper(spool, config, "desk"):
        for number in range(1000):
            assert spool.keep(exchange(number))
            while number == 500 and not spool.stats().shipped:
                await asyncio.sleep(0.01)
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
    assert 0 < before <= 1000 * KEPT
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        async with asyncio.timeout(WAIT_S):
            while await count(nats_server) < 1000 * KEPT:
                await asyncio.sleep(0.1)
        await _empty(spool)
    events = await stored(nats_server)
    assert len(events) == len({event["event_id"] for event in events}) == 1000 * KEPT
    persisted = await _persisted(nats_server)
    assert sorted(event["trace_id"] for event in persisted) == _ids(1000)
    assert in_order(persisted)
    assert process_folders(tmp_path / "spool") == []


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
    assert [event["trace_id"] for event in await _persisted(nats_server)] == [exchange(2).trace_id]


async def test_a_stream_that_refuses_makes_records_wait_in_their_order_and_says_why(
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
        await limit(KEPT + 1)
        for number in range(1, 40):
            spool.keep(exchange(number))
        await _waits(lambda: "maximum messages" in shipper.last_error)
        assert spool.stats().depth_records == 39
        await limit(-1)
        await _empty(spool)
        assert shipper.last_error == ""
    persisted = await _persisted(nats_server)
    assert len(persisted) == 40
    assert in_order(persisted)
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
        await _waits(lambda: "the stream PIPELINE" in shipper.last_error)
        assert spool.stats().depth_records == 1


async def _waits(claim: Callable[[], bool]) -> None:
    for _ in range(6000):
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
        await _waits(lambda: "uthorization" in shipper.last_error)
        assert not shipper.connected
        assert spool.stats().depth_records == 1


async def _kept_and_served(spool: Spool, numbers: range, **changes: Any) -> None:
    for number in numbers:
        assert spool.keep(exchange(number, **changes))
    await _empty(spool)


async def test_a_wiped_store_is_made_again_and_nothing_that_waits_is_lost(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        await _kept_and_served(spool, range(50))
        nats_server.kill()
        for number in range(50, 100):
            assert spool.keep(exchange(number))
        nats_server.wipe()
        nats_server.start()
        await _empty(spool)
    persisted = await _persisted(nats_server)
    assert sorted(event["trace_id"] for event in persisted) == _ids(100)[50:]
    assert in_order(persisted)


async def test_kills_with_messages_under_way_lose_double_and_reorder_nothing(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        for number in range(1200):
            assert spool.keep(exchange(number, size=2000))
            if number % 300 == 150:
                # Acks of what left a moment ago are still to come.
                await asyncio.to_thread(nats_server.kill)
                await asyncio.to_thread(nats_server.start)
            if number % 10 == 0:
                await asyncio.sleep(0.005)
        await _empty(spool)
    events = await stored(nats_server)
    assert len(events) == len({event["event_id"] for event in events}) == 1200 * KEPT
    assert in_order([event for event in events if event["schema"] == ChatPersist.schema])


async def test_what_is_refused_and_taken_later_is_not_overtaken_by_its_conversation(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    """A stream with little room refuses the large records and would take the small ones between."""
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    js = client.jetstream()

    async def limit(size: int) -> None:
        config = (await js.stream_info("PIPELINE")).config
        await js.update_stream(config.evolve(max_bytes=size))

    async with Spool(tmp_path, FAST) as spool, Shipper(spool, nats_server.config, "d") as shipper:
        await _kept_and_served(spool, range(7))
        await limit((await js.stream_info("PIPELINE")).state.bytes + 60_000)
        for number in range(7, 49):
            assert spool.keep(exchange(number, size=100_000 if number % 3 == 0 else 100))
        await _waits(lambda: "maximum bytes" in shipper.last_error)
        waiting = spool.stats().depth_records
        assert waiting > 0
        await limit(-1)
        await _empty(spool)
    persisted = await _persisted(nats_server)
    assert len(persisted) == 49
    assert in_order(persisted)
    await client.close()


async def test_a_conversation_that_waits_does_not_stop_the_others(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        for number in range(3000):
            assert spool.keep(exchange(number, conversation_id="hot"))
        for number in range(3000, 3010):
            assert spool.keep(exchange(number, conversation_id=f"cool-{number}"))
        await _empty(spool)
    persisted = await _persisted(nats_server)
    assert len(persisted) == 3010
    assert in_order(persisted)
    cool = [n for n, event in enumerate(persisted) if event["conversation_id"] != "hot"]
    assert max(cool) < 2990  # they passed the last of those before them


def _sized(number: int, size: int) -> Exchange:
    """With a persist message of exactly `size` bytes, its header included."""
    short = next(m for m in messages_of(exchange(number, size=0)) if m.subject == PERSIST)
    return exchange(number, size=size - short.size)


async def test_at_the_limit_a_message_goes_as_it_is_and_one_above_by_reference(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    limit = 1024 * 1024
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        assert spool.keep(_sized(0, limit))
        assert spool.keep(_sized(7, limit + 1))  # of the same conversation
        assert spool.keep(_sized(14, 5 * limit))
        assert spool.keep(exchange(21))
        assert spool.keep(exchange(22))
        await _empty(spool)
        assert (spool.stats().poisoned, spool.stats().shipped) == (0, 5)
    persisted = await _persisted(nats_server)
    assert in_order(persisted)
    assert [("payload_ref" in event) for event in persisted if event["trace_id"] in _ids(22)] == [
        False,
        True,
        True,
        False,
    ]
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    payloads = Payloads(client.jetstream())
    for number, size in ((7, limit + 1), (14, 5 * limit)):
        found = next(e for e in persisted if e["trace_id"] == exchange(number).trace_id)
        body = await payloads.resolve(msgspec.json.encode(found))
        messages = messages_of(_sized(number, size))
        whole = next(m.data for m in messages if m.subject == PERSIST)
        assert msgspec.json.decode(body) == msgspec.json.decode(whole)
    await client.close()


async def test_small_records_do_not_wait_for_large_ones(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    """Twelve large ones cannot be stored at all; those of other conversations pass."""
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        await _kept_and_served(spool, range(7))
        client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
        js = client.jetstream()
        bucket = (await js.stream_info("OBJ_PAYLOADS")).config
        await js.update_stream(bucket.evolve(max_bytes=1000))
        for number in range(7, 19):
            large = exchange(number, size=2_000_000, conversation_id=f"large-{number % 3}")
            assert spool.keep(large)
        for number in range(19, 400):
            assert spool.keep(exchange(number, conversation_id=f"large-{number % 6}"))
        for number in range(400, 1000):
            assert spool.keep(exchange(number, conversation_id=f"small-{number % 5}"))
        await _waits(lambda: spool.stats().shipped >= 7 + 600)
        assert spool.stats().poisoned == 0
        await js.update_stream(bucket.evolve(max_bytes=-1))
        await _empty(spool)
        await client.close()
    persisted = await _persisted(nats_server)
    assert len(persisted) == 1000
    assert in_order(persisted)


async def test_measures_never_hold_events_back(tmp_path: Path, nats_server: NatsServer) -> None:
    """Their stream cannot be used, then it is full, then it is gone."""
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    js = client.jetstream()
    odd = StreamConfig(
        name="TELEMETRY",
        subjects=["telemetry.>"],
        storage=StorageType.MEMORY,
        max_bytes=200,
        discard=DiscardPolicy.NEW,
    )
    await js.add_stream(odd)
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        await _kept_and_served(spool, range(100))
        await js.delete_stream("TELEMETRY")
        await _kept_and_served(spool, range(100, 200))
    assert len(await _persisted(nats_server)) == 200
    await client.close()


async def test_a_stream_of_measures_deleted_by_hand_is_made_again(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
        js = client.jetstream()
        await _stream(js, "TELEMETRY")
        await js.delete_stream("TELEMETRY")
        await _kept_and_served(spool, range(3))  # the first measure of all asks for an ack
        await _stream(js, "TELEMETRY")
        await client.close()


async def _stream(js: JetStreamContext, name: str) -> None:
    """It is there, within a while."""
    for _ in range(6000):
        with suppress(nats.js.errors.NotFoundError):
            await js.stream_info(name)
            return
        await asyncio.sleep(0.01)
    raise AssertionError(name)


async def test_what_is_no_exchange_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    dead = claim(tmp_path / "spool")
    broken = msgspec.json.encode({"trace_id": "x"})
    odd = msgspec.json.encode(exchange(1, tool_calls=({"no": "function"},)))
    good = msgspec.json.encode(exchange(8))
    dead.segment(1).write_bytes(b"".join(frame(record) for record in (broken, odd, good)))
    dead.release()
    async with _shipping(tmp_path / "spool", nats_server) as spool:
        await _waits(lambda: spool.stats().shipped == 1)
        await _empty(spool)
        assert spool.stats().poisoned == 2
    assert [event["trace_id"] for event in await _persisted(nats_server)] == [_ids(9)[8]]


async def test_somebody_elses_answer_is_no_ack(tmp_path: Path, nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)

    async def impostor(message: Msg) -> None:
        if message.reply:
            await message.respond(b"+OK")
            await message.respond(b'{"stream":"OTHER","seq":1}')

    await client.subscribe("pipeline.>", cb=impostor)
    js = client.jetstream()
    async with Spool(tmp_path, FAST) as spool, Shipper(spool, nats_server.config, "d") as shipper:
        await _waits(lambda: shipper.connected)
        config = (await js.stream_info("PIPELINE")).config
        await js.update_stream(config.evolve(max_msgs=1))
        for number in range(50):
            assert spool.keep(exchange(number))
        # Either of them may have had the last word.
        await _waits(
            lambda: "maximum messages" in shipper.last_error or "OTHER" in shipper.last_error
        )
        await asyncio.sleep(0.3)
        assert spool.stats().shipped == 0
        await js.update_stream(config.evolve(max_msgs=-1))
        await _empty(spool)
    assert await count(nats_server) == 50 * KEPT
    await client.close()


async def test_it_goes_on_with_the_next_server_of_the_list(
    tmp_path: Path, nats_cluster: NatsCluster
) -> None:
    config = nats_cluster.config
    async with (
        Spool(tmp_path / "spool", FAST) as spool,
        Shipper(spool, config, "desk") as shipper,
    ):
        await _kept_and_served(spool, range(100))
        await asyncio.to_thread(nats_cluster.servers[0].kill)
        await _kept_and_served(spool, range(100, 200))
        assert shipper.connected
    assert len(await _persisted(nats_cluster.servers[1])) == 200
