"""Workers against a real NATS server, with a writer that remembers."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import nats
import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from appliance.config.schema import ConsumerConfig as Settings
from appliance.domain.events.delivery import Delivery, Written
from appliance.domain.events.durables import DURABLES
from appliance.infra.nats.consumer.crew import Crew
from appliance.infra.nats.consumer.lag_watch import LagAlarm, LagWatch
from appliance.infra.nats.consumer.pull import REQUEST_BYTES
from appliance.infra.nats.consumer.tally import Settled
from appliance.infra.nats.consumer.worker import Worker
from appliance.infra.nats.lag import Lag
from appliance.infra.nats.objects import Payloads
from appliance.infra.nats.streams import ensure_streams
from tests.fakes.batch_writer import FakeWriter
from tests.fakes.consumer import jetstream, until_acked
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import NatsCluster, NatsServer

CHAT = "pipeline.knowledge.chat.persist"
TOOL = "pipeline.knowledge.tool_call"
SETTINGS = Settings(batch_messages=50, batch_wait_s=0.02, ack_wait_s=2.0, max_deliver=3)


class Counts:
    """A Tally that keeps everything."""

    def __init__(self) -> None:
        self.all: list[Settled] = []

    def settled(self, durable: str, settled: Settled) -> None:
        self.all.append(settled)


class Gauges:
    """LagGauges that keep what was read last."""

    def __init__(self) -> None:
        self.lags: Sequence[Lag] = ()
        self.alarms: Mapping[str, str] = {}

    def lag(self, lags: Sequence[Lag], alarms: Mapping[str, str]) -> None:
        self.lags, self.alarms = lags, dict(alarms)


class Process:
    """The workers of one consumer process, without the process."""

    def __init__(
        self,
        server: NatsServer | NatsCluster,
        *,
        subjects: Sequence[str] = (CHAT,),
        settings: Settings = SETTINGS,
        wall: Callable[[], float] = time.time,
        writers: Mapping[str, FakeWriter] | None = None,
    ) -> None:
        self.writers = writers or {subject: FakeWriter() for subject in subjects}
        self.writer = self.writers[subjects[0]]
        self.counts = Counts()
        self.gauges = Gauges()
        alarm = LagAlarm(settings.lag_alarm_h * 3600)
        self.crew = Crew(
            server.config,
            [
                Worker(DURABLES[s], self.writers[s], settings, self.counts, time.monotonic)
                for s in subjects
            ],
            LagWatch(alarm, self.gauges, wall=wall, monotonic=time.monotonic, every_s=0.2),
        )
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self.crew.run())

    async def stop(self) -> None:
        assert self._running is not None
        self.crew.stop()
        await self._running

    async def close_connection(self) -> None:
        """As the client does by itself when the server ends the connection with an error."""
        client = self.crew.client
        assert client is not None
        await client.close()

    async def kill(self) -> None:
        """End it as a process ends that is killed: what it has in hand is not given back."""
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def __aenter__(self) -> "Process":
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for writer in self.writers.values():
            writer.gate.set()
        await self.kill()


async def _publish(
    js: JetStreamContext, numbers: range, *, subject: str = CHAT, size: int = 100
) -> None:
    for number in numbers:
        body = msgspec.json.encode({"number": number, "text": "x" * size})
        await js.publish(subject, body, headers={"Nats-Msg-Id": f"{subject}:{number}"}, timeout=10)


async def _until(claim: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    for _ in range(int(timeout_s / 0.02)):
        if claim():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")


def _ids(numbers: range, subject: str = CHAT) -> set[str]:
    return {f"{subject}:{number}" for number in numbers}


async def test_two_processes_share_the_work_and_write_each_event_once(
    nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, batch_messages=10, ack_wait_s=60.0)
    first = Process(nats_server, settings=settings)
    second = Process(nats_server, settings=settings)
    async with jetstream(nats_server) as js, first, second:
        await _until(lambda: not any(p.crew.workers[0].problem for p in (first, second)))
        await _publish(js, range(400))
        await _until(lambda: len(first.writer.written) + len(second.writer.written) >= 400)
        await until_acked(js)
    times = Counter(first.writer.ids + second.writer.ids)
    assert set(times) == _ids(range(400))
    assert set(times.values()) == {1}
    assert min(len(first.writer.written), len(second.writer.written)) > 0


async def test_one_killed_in_the_middle_of_a_batch_hands_it_over_after_ack_wait(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js, Process(nats_server) as first:
        first.writer.gate.clear()
        await _publish(js, range(20))
        await asyncio.wait_for(first.writer.begun.wait(), WAIT_S)
        await first.kill()
        async with Process(nats_server) as second:
            await _until(lambda: set(second.writer.ids) == _ids(range(20)))
            await until_acked(js)
    assert first.writer.written == []
    assert max(delivery.deliveries for delivery in second.writer.written) == 2


async def test_a_batch_that_takes_longer_than_ack_wait_is_nobody_elses(
    nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, ack_wait_s=1.5)
    async with jetstream(nats_server) as js, Process(nats_server, settings=settings) as process:
        process.writer.away = True
        await _publish(js, range(120))
        await _until(process.writer.begun.is_set)
        await asyncio.sleep(4)  # what must not happen would take twice ack_wait
        process.writer.away = False
        await _until(lambda: len(process.writer.written) >= 120)
        await until_acked(js)
    assert {d.deliveries for d in process.writer.written} == {1}
    assert len(process.writer.written) == 120


async def test_a_stop_finishes_the_batch_in_hand(nats_server: NatsServer) -> None:
    async with jetstream(nats_server) as js, Process(nats_server) as process:
        process.writer.gate.clear()
        await _publish(js, range(5))
        await _until(process.writer.begun.is_set)
        process.crew.stop()
        process.writer.gate.set()
        await process.stop()
        handed = len(process.writer.written)
        assert handed > 0
        await _acked(js, handed)


async def _acked(js: JetStreamContext, count: int) -> None:
    """The server has the acks of the first `count` messages: they are under way at a stop."""
    for _ in range(6000):
        floor = (await js.consumer_info("PIPELINE", "chat_persist")).ack_floor
        if floor is not None and floor.consumer_seq >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{count} messages were not acked")


async def test_a_stop_while_the_database_is_away_gives_the_batch_back_at_once(
    nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, ack_wait_s=600.0)
    async with jetstream(nats_server) as js, Process(nats_server, settings=settings) as first:
        first.writer.away = True
        await _publish(js, range(5))
        await _until(first.writer.begun.is_set)
        await first.stop()
        async with Process(nats_server, settings=settings) as second:
            await _until(lambda: set(second.writer.ids) == _ids(range(5)))


async def test_a_durable_deleted_by_hand_is_made_again_and_the_others_go_on(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js, Process(nats_server, subjects=(CHAT, TOOL)) as process:
        await _publish(js, range(10))
        await _until(lambda: len(process.writer.written) == 10)
        await js.delete_consumer("PIPELINE", "chat_persist")
        await _publish(js, range(10, 20))
        await _publish(js, range(5), subject=TOOL)
        await _until(lambda: set(process.writer.ids) == _ids(range(20)))
        await _until(lambda: len(process.writers[TOOL].written) == 5)
        await _until(lambda: not any(worker.problem for worker in process.crew.workers))


@pytest.mark.parametrize("how", ["deleted", "wiped"])
async def test_a_stream_that_is_gone_is_made_again(nats_server: NatsServer, how: str) -> None:
    async with Process(nats_server) as process:
        async with jetstream(nats_server) as js:
            await _publish(js, range(10))
            await _until(lambda: len(process.writer.written) == 10)
            if how == "deleted":
                await js.delete_stream("PIPELINE")
        if how == "wiped":
            nats_server.kill()
            nats_server.wipe()
            nats_server.start()
        await _until(lambda: process.crew.connected and not process.crew.workers[0].problem)
        async with jetstream(nats_server) as js:
            await _publish(js, range(10, 20))
            await _until(lambda: set(process.writer.ids) == _ids(range(20)))


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_the_server_may_go_and_come_back_with_a_batch_in_hand(
    nats_server: NatsServer, fault: str
) -> None:
    async with Process(nats_server) as process:
        async with jetstream(nats_server) as js:
            process.writer.gate.clear()
            await _publish(js, range(10))
            await _until(process.writer.begun.is_set)
        if fault == "kill":
            nats_server.kill()
        else:
            nats_server.signal(signal.SIGSTOP)
        await _until(lambda: not process.crew.connected)
        process.writer.gate.set()
        if fault == "kill":
            nats_server.start()
        else:
            nats_server.signal(signal.SIGCONT)
        async with jetstream(nats_server) as js:
            await _publish(js, range(10, 20))
            await _until(lambda: set(process.writer.ids) == _ids(range(20)))
            await until_acked(js)


async def test_a_connection_the_server_closes_for_good_is_opened_anew(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js, Process(nats_server) as process:
        await _publish(js, range(5))
        await _until(lambda: len(process.writer.written) == 5)
        await process.close_connection()
        await _publish(js, range(5, 10))
        await _until(lambda: set(process.writer.ids) == _ids(range(10)))


async def test_a_server_of_a_cluster_may_go(nats_cluster: NatsCluster) -> None:
    client = await nats.connect(nats_cluster.config.url.split(","), token=nats_cluster.config.token)
    try:
        js = client.jetstream()
        await ensure_streams(js, 3)
        async with Process(nats_cluster) as process:
            await _publish(js, range(10))
            await _until(lambda: set(process.writer.ids) == _ids(range(10)))
            nats_cluster.servers[0].kill()
            for number in range(10, 20):
                await _insist(js, number)
            await _until(lambda: set(process.writer.ids) == _ids(range(20)))
    finally:
        await client.close()


async def _insist(js: JetStreamContext, number: int) -> None:
    """Publish until it is acked: a cluster that chooses a leader answers nobody."""
    for _ in range(100):
        with suppress(nats.errors.Error):
            await _publish(js, range(number, number + 1))
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the cluster took nothing")


async def test_a_message_that_is_rejected_is_tried_again_and_buried_and_stops_nobody(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js, Process(nats_server) as process:
        process.writer.reject = lambda d: "odd" if d.event_id.endswith(":3") else ""
        await _publish(js, range(8))
        await until_acked(js)
    assert set(process.writer.ids) == _ids(range(8)) - {f"{CHAT}:3"}
    (dead,) = process.writer.buried
    assert (dead.delivery.event_id, dead.reason, dead.delivery.deliveries) == (
        f"{CHAT}:3",
        "odd",
        SETTINGS.max_deliver,
    )
    settled = process.counts.all
    assert sum(s.buried for s in settled) == 1
    assert sum(s.retried for s in settled) == SETTINGS.max_deliver - 1
    assert sum(s.events for s in settled) == 7


async def test_a_writer_that_fails_unforeseen_is_at_fault_with_one_message_alone(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await _publish(js, range(8))
        async with Process(nats_server) as process:
            process.writer.explode = lambda d: d.event_id.endswith(":5")
            await _until(lambda: len(process.writer.buried) == 1)
            await until_acked(js)
    assert set(process.writer.ids) == _ids(range(8)) - {f"{CHAT}:5"}
    assert process.writer.buried[0].reason == "RuntimeError: a bug"


async def test_what_cannot_be_buried_either_comes_again_and_the_rest_of_its_batch_does_not(
    nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, max_deliver=1)
    async with jetstream(nats_server) as js:
        await _publish(js, range(8))
        async with Process(nats_server, settings=settings) as process:
            process.writer.reject = lambda d: "odd" if d.event_id.endswith(":3") else ""
            process.writer.unburiable = 2
            await until_acked(js)
    assert sorted(process.writer.ids) == sorted(_ids(range(8)) - {f"{CHAT}:3"})
    assert [dead.delivery.deliveries for dead in process.writer.buried] == [3]


async def test_without_the_database_nothing_is_buried_however_often_it_was_delivered(
    nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, max_deliver=1)
    async with jetstream(nats_server) as js, Process(nats_server, settings=settings) as process:
        process.writer.away = True
        await _publish(js, range(5))
        await _until(process.writer.begun.is_set)
        process.writer.away = False
        await _until(lambda: len(process.writer.written) == 5)
    assert process.writer.buried == []


async def test_messages_larger_than_a_request_pass_between_others(tmp_path: Any) -> None:
    server = NatsServer(tmp_path, max_payload=64 * 1024 * 1024)
    server.start()
    try:
        async with jetstream(server) as js, Process(server) as process:
            await _publish(js, range(3))
            await _publish(js, range(3, 5), size=REQUEST_BYTES + 1)
            await _publish(js, range(5, 8))
            await _publish(js, range(8, 12), size=REQUEST_BYTES // 3)
            most = 31 * 1024 * 1024  # a file of JetStream takes no message of 32 MiB
            await _publish(js, range(12, 13), size=most)
            await _publish(js, range(13, 14))
            await _until(lambda: set(process.writer.ids) == _ids(range(14)))
            await until_acked(js)
    finally:
        server.kill()
    assert len(process.writer.written) == 14


async def test_a_reference_is_resolved_before_the_writer_sees_it(nats_server: NatsServer) -> None:
    async with jetstream(nats_server) as js, Process(nats_server) as process:
        bodies = [await _put(js, number, 300_000) for number in range(3)]
        await _publish(js, range(10, 13))
        await _until(lambda: len(process.writer.written) == 6)
        await until_acked(js)
    kept = {d.event_id: d.data for d in process.writer.written}
    assert [kept[f"{CHAT}:{number}"] for number in range(3)] == bodies


async def test_one_large_body_is_in_memory_at_a_time_whatever_the_durable(
    nats_server: NatsServer,
) -> None:
    class Bodies:
        now = most = 0

    class Slow(FakeWriter):
        async def write(self, batch: Sequence[Delivery]) -> Written:
            Bodies.now += sum(len(d.data) > 100_000 for d in batch)
            Bodies.most = max(Bodies.most, Bodies.now)
            await asyncio.sleep(0.01)
            Bodies.now -= sum(len(d.data) > 100_000 for d in batch)
            return await super().write(batch)

    writers = {CHAT: Slow(), TOOL: Slow()}
    async with jetstream(nats_server) as js:
        for number in range(8):
            await _put(js, number, 200_000, CHAT)
            await _put(js, number, 200_000, TOOL)
        async with Process(nats_server, subjects=(CHAT, TOOL), writers=writers):
            await _until(lambda: all(len(w.written) == 8 for w in writers.values()))
    assert Bodies.most == 1


async def test_a_reference_whose_payload_is_gone_is_buried_at_once(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await _put(js, 1, 1000)
        assert await Payloads(js).remove(f"{CHAT}:1")
        await _publish(js, range(2, 3))
        async with Process(nats_server) as process:
            await _until(lambda: process.writer.buried and process.writer.written)
            await until_acked(js)
    (dead,) = process.writer.buried
    assert (dead.delivery.event_id, dead.delivery.deliveries) == (f"{CHAT}:1", 1)
    assert process.writer.ids == [f"{CHAT}:2"]


async def _put(js: JetStreamContext, number: int, size: int, subject: str = CHAT) -> bytes:
    """A body in the object store and its reference in the stream; the body."""
    identifier = f"{subject}:{number}"
    body = {
        "event_id": identifier,
        "trace_id": f"t{number}",
        "correlation_id": "c",
        "conversation_id": "c",
        "occurred_at": "2026-11-21T14:27:01.123456Z",
        "schema": "chat.persist/1",
        "host": "desk",
        "text": "y" * size,
    }
    data = msgspec.json.encode(body)
    reference = await Payloads(js).put(body, data)
    await js.publish(subject, reference, headers={"Nats-Msg-Id": identifier})
    return data


async def test_a_durable_somebody_changed_is_put_right(nats_server: NatsServer) -> None:
    async with jetstream(nats_server) as js:
        await js.add_consumer(
            "PIPELINE",
            ConsumerConfig(
                durable_name="chat_persist",
                filter_subject=CHAT,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=90.0,
                max_deliver=2,
                max_ack_pending=1,
                max_waiting=7,
                headers_only=True,
            ),
        )
        async with Process(nats_server) as process:
            await _publish(js, range(5))
            await _until(lambda: set(process.writer.ids) == _ids(range(5)))
        config = (await js.consumer_info("PIPELINE", "chat_persist")).config
        assert (config.ack_wait, config.max_deliver, config.max_waiting) == (2.0, -1, 7)


async def test_a_durable_of_another_subject_is_made_again_from_the_beginning(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await js.add_consumer(
            "PIPELINE",
            ConsumerConfig(
                durable_name="chat_persist", filter_subject=TOOL, ack_policy=AckPolicy.EXPLICIT
            ),
        )
        await _publish(js, range(5))
        await _publish(js, range(1), subject=TOOL)
        passing = await js.pull_subscribe_bind("chat_persist", "PIPELINE")
        for message in await passing.fetch(1):  # it is beyond the five now
            await message.ack()
        async with Process(nats_server) as process:
            await _until(lambda: set(process.writer.ids) == _ids(range(5)))


async def test_a_durable_that_nats_cannot_change_is_refused_with_a_sentence_and_others_go_on(
    nats_server: NatsServer,
) -> None:
    async with jetstream(nats_server) as js:
        await js.add_consumer(
            "PIPELINE",
            ConsumerConfig(
                durable_name="chat_persist",
                filter_subject=CHAT,
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.NEW,
            ),
        )
        async with Process(nats_server, subjects=(CHAT, TOOL)) as process:
            await _publish(js, range(3), subject=TOOL)
            await _publish(js, range(3))
            await _until(lambda: len(process.writers[TOOL].written) == 3)
            await _until(lambda: process.crew.workers[0].problem)
            problem = process.crew.workers[0].problem
            assert "the consumer chat_persist on the stream PIPELINE exists with" in problem
            assert "deliver_policy new (it needs all)" in problem
            assert "ack_policy none (it needs explicit)" in problem
            await js.delete_consumer("PIPELINE", "chat_persist")
            await _until(lambda: set(process.writer.ids) == _ids(range(3)))
            await _until(lambda: not process.crew.workers[0].problem)


async def test_a_stream_that_cannot_be_used_is_named_and_consumption_goes_on(
    nats_server: NatsServer,
) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    js = client.jetstream()
    await js.add_stream(name="EVT", subjects=["evt.>"], storage="memory")
    try:
        async with Process(nats_server) as process:
            await _until(lambda: not process.crew.workers[0].problem)
            await _publish(js, range(3))
            await _until(lambda: len(process.writer.written) == 3)
            await _until(lambda: "EVT" in process.crew.streams.problem)
    finally:
        await client.close()


async def test_events_that_wait_too_long_raise_the_alarm_until_they_are_written(
    nats_server: NatsServer,
) -> None:
    hours = [0.0]
    async with (
        jetstream(nats_server) as js,
        Process(nats_server, wall=lambda: time.time() + hours[0] * 3600) as process,
    ):
        process.writer.away = True
        await _publish(js, range(3))
        await _until(process.writer.begun.is_set)
        hours[0] = 47.0
        await _until(lambda: any(lag.oldest_age_s > 46 * 3600 for lag in process.gauges.lags))
        assert process.gauges.alarms == {}
        hours[0] = 49.0
        await _until(lambda: process.gauges.alarms)
        assert "drops it in 23.0 h" in process.gauges.alarms["chat_persist"]
        process.writer.away = False
        await _until(lambda: not process.gauges.alarms)
