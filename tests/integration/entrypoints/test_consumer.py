"""The consumer role as a process, beside the real NATS and PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import nats
import nats.js.errors
import psycopg
import pytest

from appliance.config.schema import SpoolConfig
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.infra.nats.shipper import Shipper
from appliance.infra.nats.streams import ensure_streams
from appliance.infra.postgres.migrate import migrate
from appliance.infra.spool.spool import Spool
from tests.fakes.exchanges import exchange
from tests.fakes.postgres import Cluster
from tests.fixtures_nats import NatsServer

SUBJECT = "pipeline.knowledge.chat.persist"


class Consumer:
    """`appliance run --role consumer` on a configuration of its own."""

    def __init__(self, folder: Path, server: NatsServer, dsn: str, extra: str = "") -> None:
        self.log = folder / "consumer.log"
        self._config = folder / "consumer.toml"
        (folder / "dsn").write_text(dsn)
        self._config.write_text(
            f'[nats]\nurl = "{server.config.url}"\ntoken = "env:CONSUMER_TEST_TOKEN"\n'
            f'[postgres]\ndsn = "file:dsn"\n[consumer]\n{extra}\n'
        )
        self._env = {**os.environ, "CONSUMER_TEST_TOKEN": server.config.token}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "appliance", "run", "--role", "consumer"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(self._config)], stdout=log, stderr=log, env=self._env
            )

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = 15) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def _consuming(consumer: Consumer) -> Iterator[Consumer]:
    consumer.start()
    try:
        yield consumer
    finally:
        if consumer.process is not None and consumer.process.poll() is None:
            consumer.send(signal.SIGCONT)
            consumer.stop(signal.SIGKILL)


@pytest.fixture
async def dsn(fresh_dsn: str) -> str:
    await migrate(fresh_dsn)
    return fresh_dsn


@asynccontextmanager
async def _js(server: NatsServer) -> AsyncIterator[Any]:
    client = await nats.connect(server.config.url, token=server.config.token)
    try:
        js = client.jetstream()
        await ensure_streams(js, 1)
        yield js
    finally:
        await client.close()


async def _publish(js: Any, exchanges: Sequence[Exchange], *, msg_id: bool = True) -> None:
    for kept in exchanges:
        event = next(events_of(kept))
        headers = {"Nats-Msg-Id": event.event_id} if msg_id else None
        await js.publish(SUBJECT, msgspec.json.encode(event.body), headers=headers, timeout=10)


def _rows(dsn: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode(), values).fetchall()


def _pairs(dsn: str) -> list[str]:
    return [row[0] for row in _rows(dsn, "SELECT trace_id FROM chat_pairs ORDER BY 1")]


async def _until(claim: Callable[[], bool], timeout_s: float = 30) -> None:
    for _ in range(int(timeout_s / 0.05)):
        if await asyncio.to_thread(claim):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to pass")


async def _pairs_are(dsn: str, count: int, timeout_s: float = 30) -> None:
    expected = [exchange(number).trace_id for number in range(count)]
    await _until(lambda: _pairs(dsn) == expected, timeout_s)
    twice = [t for t, n in Counter(_pairs(dsn)).items() if n > 1]
    assert not twice
    (history,) = _rows(dsn, "SELECT count(*) FROM chat_history")
    assert history[0] == 3 * count


async def test_exchanges_become_rows_and_a_termination_is_clean(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(120)])
            await _pairs_are(dsn, 120)
            info = await js.consumer_info("PIPELINE", "chat_persist")
            assert info.num_pending == 0
        assert consumer.stop() == 0
    row = _rows(dsn, "SELECT prompt, response, model, input_tokens, retrieval FROM chat_pairs")[0]
    assert row[0].startswith("question ")
    assert row[1].startswith("answer ")
    assert row[2:4] == ("qwen3-8b-q4", 12)
    assert row[4]["hits"][0]["document"] == "notes.md"


async def test_the_same_message_again_changes_nothing(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            for _ in range(3):
                await _publish(js, [exchange(number) for number in range(40)], msg_id=False)
            await _until_acked(js)
    await _pairs_are(dsn, 40)


async def _until_acked(js: Any, timeout_s: float = 30) -> None:
    for _ in range(int(timeout_s / 0.05)):
        with suppress(nats.js.errors.NotFoundError):
            info = await js.consumer_info("PIPELINE", "chat_persist")
            if not info.num_pending and not info.num_ack_pending:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("messages were left")


async def test_failed_and_cancelled_exchanges_are_in_the_history_only(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            failed = exchange(1, status="failed", http_status=502, error_type="BackendUnavailable")
            cut = exchange(2, status="failed", http_status=200)
            cancelled = exchange(3, status="cancelled", http_status=200)
            await _publish(js, [exchange(0), failed, cut, cancelled])
            await _until_acked(js)
    assert _pairs(dsn) == [exchange(0).trace_id]
    found = _rows(
        dsn,
        "SELECT status, detail->>'error_type' FROM chat_history WHERE seq = 2 ORDER BY trace_id",
    )
    assert found == [
        ("finished", ""),
        ("failed", "BackendUnavailable"),
        ("failed", ""),
        ("cancelled", ""),
    ]


async def test_an_answer_of_tool_calls_alone_is_a_pair(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(0, answer="", tool_calls=(call,))])
            await _until_acked(js)
    assert _rows(dsn, "SELECT response, tool_calls FROM chat_pairs") == [("", [call])]


async def test_content_that_was_seen_before_is_stored_once(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(30)])
            await _until_acked(js)
    (count,) = _rows(dsn, "SELECT count(*) FROM message_contents WHERE content = 'You are terse.'")
    assert count[0] == 1


async def test_poison_among_good_messages_is_buried_with_its_reason_and_stops_nobody(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn, "max_deliver = 2")):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(0)])
            await js.publish(SUBJECT, b"\xff not json")
            await js.publish(SUBJECT, b'{"trace_id": 5}', headers={"Nats-Msg-Id": "t5:x"})
            huge = exchange(99, input_tokens=2**80)
            late = exchange(98)
            await _publish(js, [exchange(1), huge])
            event = next(events_of(late))
            event.body["occurred_at"] = "not a time"
            await js.publish(SUBJECT, msgspec.json.encode(event.body))
            await _publish(js, [exchange(2)])
            await _until_acked(js)
    assert _pairs(dsn) == [exchange(number).trace_id for number in range(3)]
    dead = _rows(dsn, "SELECT reason, deliveries, payload FROM dead_letters ORDER BY id")
    assert len(dead) == 4
    assert [row[1] for row in dead] == [1, 1, 1, 2] or [row[1] for row in dead] == [1, 1, 2, 2]
    assert dead[0][2] == b"\xff not json"


async def test_text_postgres_cannot_hold_is_stored_all_the_same(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    odd = 'a\0b \\u0000 "quoted" {braces} NULL \U0001f600 \\'
    messages = ({"role": "user", "content": [{"type": "text", "text": odd}], "x\0": 1},)
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(0, messages=messages, answer=odd)])
            await _until_acked(js)
    kept = odd.replace("\0", "\ufffd")
    assert _rows(dsn, "SELECT prompt, response FROM chat_pairs") == [(kept, kept)]


async def test_a_killed_consumer_and_two_at_once_double_nothing(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    extra = "batch_messages = 20\nack_wait_s = 2.0"
    first, second = (Consumer(folder, nats_server, dsn, extra) for folder in folders)
    with _consuming(first), _consuming(second):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(400)])
            first.stop(signal.SIGKILL)
            await _publish(js, [exchange(number) for number in range(400, 800)])
            await _pairs_are(dsn, 800)
            await _until_acked(js)


async def test_a_killed_postgres_is_waited_for_and_nats_stays_connected(
    tmp_path: Path, nats_server: NatsServer, dsn: str, postgres_cluster: Cluster
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn, "max_deliver = 2")) as consumer:
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(50)])
            postgres_cluster.kill()
            try:
                await _publish(js, [exchange(number) for number in range(50, 100)])
                await asyncio.sleep(3)
            finally:
                postgres_cluster.start()
            await _pairs_are(dsn, 100)
            await _until_acked(js)
        assert b"nats_disconnected" not in consumer.log.read_bytes()
    assert _rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_database_without_tables_is_waited_for(
    tmp_path: Path, nats_server: NatsServer, fresh_dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, fresh_dsn)) as consumer:
        async with _js(nats_server) as js:
            await _publish(js, [exchange(0)])
            await _until(lambda: b"run `appliance migrate`" in consumer.log.read_bytes())
            await migrate(fresh_dsn)
            await _pairs_are(fresh_dsn, 1)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_nats_may_go_and_come_back(
    tmp_path: Path, nats_server: NatsServer, dsn: str, fault: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn, "ack_wait_s = 2.0")):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(20)])
        if fault == "kill":
            nats_server.kill()
            await asyncio.sleep(1)
            nats_server.start()
        else:
            nats_server.signal(signal.SIGSTOP)
            await asyncio.sleep(8)
            nats_server.signal(signal.SIGCONT)
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(20, 40)])
            await _pairs_are(dsn, 40)


async def test_a_consumer_or_a_stream_deleted_by_hand_is_made_again(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with _consuming(Consumer(tmp_path, nats_server, dsn)):
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(10)])
            await _pairs_are(dsn, 10)
            await js.delete_consumer("PIPELINE", "chat_persist")
            await _publish(js, [exchange(number) for number in range(10, 20)])
            await _pairs_are(dsn, 20)
            await js.delete_stream("PIPELINE")
        async with _js(nats_server) as js:
            await _publish(js, [exchange(number) for number in range(20, 30)])
            await _pairs_are(dsn, 30)


async def test_it_starts_before_nats_and_stops_without_it(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    nats_server.kill()
    with _consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        await _until(lambda: b"nats_error" in consumer.log.read_bytes())
        assert consumer.stop() == 0
        consumer.start()
        nats_server.start()
        async with _js(nats_server) as js:
            await _publish(js, [exchange(0)])
            await _pairs_are(dsn, 1)


async def test_every_part_may_die_on_the_way_and_rows_are_there_exactly_once(
    tmp_path: Path, nats_server: NatsServer, dsn: str, postgres_cluster: Cluster
) -> None:
    """Spool, NATS, consumer and PostgreSQL, each killed while exchanges are kept all the time."""
    spool_config = SpoolConfig(sync_interval_s=0.05)
    with _consuming(Consumer(tmp_path, nats_server, dsn, "ack_wait_s = 2.0")) as consumer:
        for life in range(2):  # the second adopts what the first left
            async with (
                Spool(tmp_path / "spool", spool_config) as spool,
                Shipper(spool, nats_server.config, "desk") as shipper,
            ):
                for number in range(life * 500, life * 500 + 500):
                    assert spool.keep(exchange(number))
                    await asyncio.sleep(0.004)
                    if number == 100:
                        nats_server.kill()
                    if number == 200:
                        nats_server.start()
                    if number == 300:
                        consumer.stop(signal.SIGKILL)
                        consumer.start()
                    if number == 600:
                        postgres_cluster.kill()
                    if number == 700:
                        await asyncio.to_thread(postgres_cluster.start)
                if life:
                    await _until(lambda: not spool.stats().depth_records)
                    assert shipper.connected
        await _pairs_are(dsn, 1000)
