"""The consumer role as a process, beside the real NATS and PostgreSQL."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from appliance.config.schema import SpoolConfig
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.topics import events_of
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.postgres.migrate import migrate
from appliance.infra.spool.spool import Spool
from tests.fakes.consumer import (
    SUBJECT,
    Consumer,
    consuming,
    jetstream,
    publish,
    publish_all,
    rows,
    until,
    until_acked,
)
from tests.fakes.exchanges import exchange
from tests.fakes.postgres import Cluster
from tests.fixtures_nats import NatsServer
from tests.integration.infra.postgres.writers.exchanges import whole


def _pairs(dsn: str) -> list[str]:
    return [row[0] for row in rows(dsn, "SELECT trace_id FROM chat_pairs ORDER BY 1")]


async def _pairs_are(dsn: str, count: int, timeout_s: float = 30) -> None:
    expected = [exchange(number).trace_id for number in range(count)]
    await until(lambda: _pairs(dsn) == expected, timeout_s)
    twice = [t for t, n in Counter(_pairs(dsn)).items() if n > 1]
    assert not twice
    (history,) = rows(dsn, "SELECT count(*) FROM chat_history")
    assert history[0] == 3 * count


async def test_exchanges_become_rows_and_a_termination_is_clean(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(120)])
            await _pairs_are(dsn, 120)
            info = await js.consumer_info("PIPELINE", "chat_persist")
            assert info.num_pending == 0
        assert consumer.stop() == 0
    row = rows(dsn, "SELECT prompt, response, model, input_tokens, retrieval FROM chat_pairs")[0]
    assert row[0].startswith("question ")
    assert row[1].startswith("answer ")
    assert row[2:4] == ("qwen3-8b-q4", 12)
    assert row[4]["hits"][0]["document"] == "notes.md"


async def test_all_seven_subjects_end_as_rows(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    exchanges = [whole(number) for number in range(30)]
    with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        async with jetstream(nats_server) as js:
            await publish_all(js, exchanges)
            for durable in DURABLES.values():
                await until_acked(js, durable.name)
        assert consumer.stop() == 0
    traces = {made.trace_id for made in exchanges}
    for durable in DURABLES.values():
        for table in durable.tables:
            assert {r[0] for r in rows(dsn, f"SELECT trace_id FROM {table}")} == traces, table
    assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_the_same_message_again_changes_nothing(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            for _ in range(3):
                await publish(js, [exchange(number) for number in range(40)], msg_id=False)
            await until_acked(js)
    await _pairs_are(dsn, 40)


async def test_failed_and_cancelled_exchanges_are_in_the_history_only(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            failed = exchange(1, status="failed", http_status=502, error_type="BackendUnavailable")
            cut = exchange(2, status="failed", http_status=200)
            cancelled = exchange(3, status="cancelled", http_status=200)
            await publish(js, [exchange(0), failed, cut, cancelled])
            await until_acked(js)
    assert _pairs(dsn) == [exchange(0).trace_id]
    found = rows(
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
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0, answer="", tool_calls=(call,))])
            await until_acked(js)
    assert rows(dsn, "SELECT response, tool_calls FROM chat_pairs") == [("", [call])]


async def test_content_that_was_seen_before_is_stored_once(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(30)])
            await until_acked(js)
    (count,) = rows(dsn, "SELECT count(*) FROM message_contents WHERE content = 'You are terse.'")
    assert count[0] == 1


async def test_poison_among_good_messages_is_buried_with_its_reason_and_stops_nobody(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn, "max_deliver = 2")):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0)])
            await js.publish(SUBJECT, b"\xff not json")
            await js.publish(SUBJECT, b'{"trace_id": 5}', headers={"Nats-Msg-Id": "t5:x"})
            huge = exchange(99, input_tokens=2**80)
            late = exchange(98)
            await publish(js, [exchange(1), huge])
            event = next(events_of(late))
            event.body["occurred_at"] = "not a time"
            await js.publish(SUBJECT, msgspec.json.encode(event.body))
            await publish(js, [exchange(2)])
            await until_acked(js)
    assert _pairs(dsn) == [exchange(number).trace_id for number in range(3)]
    dead = rows(dsn, "SELECT reason, deliveries, payload FROM dead_letters ORDER BY id")
    assert len(dead) == 4
    assert [row[1] for row in dead] == [1, 1, 1, 2] or [row[1] for row in dead] == [1, 1, 2, 2]
    assert dead[0][2] == b"\xff not json"


async def test_text_postgres_cannot_hold_is_stored_all_the_same(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    odd = 'a\0b \\u0000 "quoted" {braces} NULL \U0001f600 \\'
    messages = ({"role": "user", "content": [{"type": "text", "text": odd}], "x\0": 1},)
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0, messages=messages, answer=odd)])
            await until_acked(js)
    kept = odd.replace("\0", "\ufffd")
    assert rows(dsn, "SELECT prompt, response FROM chat_pairs") == [(kept, kept)]


async def test_a_killed_consumer_and_two_at_once_double_nothing(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    extra = "batch_messages = 20\nack_wait_s = 2.0"
    first, second = (Consumer(folder, nats_server, dsn, extra) for folder in folders)
    with consuming(first), consuming(second):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(400)])
            first.stop(signal.SIGKILL)
            await publish(js, [exchange(number) for number in range(400, 800)])
            await _pairs_are(dsn, 800)
            await until_acked(js)


async def test_a_killed_postgres_is_waited_for_and_nats_stays_connected(
    tmp_path: Path, nats_server: NatsServer, dsn: str, postgres_cluster: Cluster
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn, "max_deliver = 2")) as consumer:
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(50)])
            postgres_cluster.kill()
            try:
                await publish(js, [exchange(number) for number in range(50, 100)])
                await asyncio.sleep(3)
            finally:
                postgres_cluster.start()
            await _pairs_are(dsn, 100)
            await until_acked(js)
        assert b"nats_disconnected" not in consumer.log.read_bytes()
    assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_frozen_postgres_is_waited_for_and_nats_stays_connected(
    tmp_path: Path, nats_server: NatsServer, dsn: str, postgres_cluster: Cluster
) -> None:
    extra = "ack_wait_s = 1.0\nmax_deliver = 2"
    with consuming(Consumer(tmp_path, nats_server, dsn, extra)) as consumer:
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(50)])
            await _pairs_are(dsn, 50)
            postgres_cluster.freeze()
            try:
                await publish(js, [exchange(number) for number in range(50, 100)])
                await asyncio.sleep(4)  # of ack_wait, four times
            finally:
                postgres_cluster.thaw()
            await _pairs_are(dsn, 100)
            await until_acked(js)
        assert b"nats_disconnected" not in consumer.log.read_bytes()
    assert rows(dsn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_a_database_without_tables_is_waited_for(
    tmp_path: Path, nats_server: NatsServer, fresh_dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, fresh_dsn)) as consumer:
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0)])
            await until(lambda: b"run `appliance migrate`" in consumer.log.read_bytes())
            await migrate(fresh_dsn)
            await _pairs_are(fresh_dsn, 1)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_nats_may_go_and_come_back(
    tmp_path: Path, nats_server: NatsServer, dsn: str, fault: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn, "ack_wait_s = 2.0")):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(20)])
        if fault == "kill":
            nats_server.kill()
            await asyncio.sleep(1)
            nats_server.start()
        else:
            nats_server.signal(signal.SIGSTOP)
            await asyncio.sleep(8)
            nats_server.signal(signal.SIGCONT)
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(20, 40)])
            await _pairs_are(dsn, 40)


async def test_a_consumer_or_a_stream_deleted_by_hand_is_made_again(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(10)])
            await _pairs_are(dsn, 10)
            await js.delete_consumer("PIPELINE", "chat_persist")
            await publish(js, [exchange(number) for number in range(10, 20)])
            await _pairs_are(dsn, 20)
            await js.delete_stream("PIPELINE")
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(number) for number in range(20, 30)])
            await _pairs_are(dsn, 30)


async def test_it_starts_before_nats_and_stops_without_it(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    nats_server.kill()
    with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        await until(lambda: b"nats_error" in consumer.log.read_bytes())
        assert consumer.stop() == 0
        consumer.start()
        nats_server.start()
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0)])
            await _pairs_are(dsn, 1)


async def test_every_part_may_die_on_the_way_and_rows_are_there_exactly_once(
    tmp_path: Path, nats_server: NatsServer, dsn: str, postgres_cluster: Cluster
) -> None:
    """Spool, NATS, consumer and PostgreSQL, each killed while exchanges are kept all the time."""
    spool_config = SpoolConfig(sync_interval_s=0.05)
    with consuming(Consumer(tmp_path, nats_server, dsn, "ack_wait_s = 2.0")) as consumer:
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
                    await until(lambda: not spool.stats().depth_records)
                    assert shipper.connected
        await _pairs_are(dsn, 1000)
