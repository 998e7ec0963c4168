"""What a consumer says of itself over HTTP, and that its memory is bounded."""

import asyncio
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import nats
from nats.js.api import AckPolicy, ConsumerConfig
from prometheus_client.parser import text_string_to_metric_families

from appliance.domain.events.durables import DURABLES
from tests.fakes.consumer import (
    DURABLE,
    SUBJECT,
    Consumer,
    consuming,
    jetstream,
    publish,
    publish_many,
    rows,
    until,
    until_acked,
)
from tests.fakes.exchanges import exchange
from tests.fixtures_nats import NatsServer

# What a backlog of 20 000 events of 2 KB may add to the memory that 500 of them take.
BACKLOG_BYTES = 16 * 1024 * 1024


def get(consumer: Consumer, path: str) -> httpx.Response:
    return httpx.get(f"{consumer.url}{path}", timeout=60)


def parts(consumer: Consumer) -> tuple[int, dict[str, str]]:
    """/ready: the status and the parts; (0, {}) when it does not answer."""
    try:
        answer = get(consumer, "/ready")
    except httpx.TransportError:
        return 0, {}
    return answer.status_code, answer.json()["parts"]


def is_ready(consumer: Consumer) -> bool:
    return parts(consumer)[0] == 200


def samples(consumer: Consumer) -> dict[tuple[str, ...], float]:
    text = get(consumer, "/metrics").text
    return {
        (s.name.removeprefix("appliance_consumer_"), *(v for _, v in sorted(s.labels.items()))): (
            s.value
        )
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_it_is_alive_without_its_parts_and_names_each(
    tmp_path: Path, nats_server: NatsServer, fresh_dsn: str
) -> None:
    nats_server.kill()
    nowhere = "host=127.0.0.1 port=1 user=nobody dbname=nothing connect_timeout=2"
    with consuming(Consumer(tmp_path, nats_server, nowhere)) as consumer:
        await until(lambda: parts(consumer)[0] == 503)
        assert get(consumer, "/healthz").status_code == 200
        found = parts(consumer)[1]
        assert found["nats"] == "not connected: events wait in the streams"
        assert found["postgres"].startswith("PostgreSQL: ")
        assert "chat_persist: not started" in found["durables"]
        assert consumer.stop() == 0


async def test_it_is_ready_once_it_consumes_and_not_while_nats_is_away(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        await until(lambda: is_ready(consumer))
        assert set(parts(consumer)[1].values()) == {"ok"}
        nats_server.kill()
        await until(lambda: parts(consumer)[1].get("nats", "ok") != "ok")
        nats_server.start()
        await until(lambda: is_ready(consumer))


async def test_metrics_count_events_and_rows_and_show_the_lag(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
        async with jetstream(nats_server) as js:
            await until(lambda: is_ready(consumer))
            for _ in range(2):  # the second time its rows are there
                await publish(js, [exchange(number) for number in range(40)], msg_id=False)
                await until_acked(js)
            await js.publish(SUBJECT, b"poison")
            await until_acked(js)
        told = {("events_total", DURABLE, "buried"), ("lag_seconds", DURABLE)}
        await until(lambda: told <= set(samples(consumer)))
        found = samples(consumer)
        text = get(consumer, "/metrics").text
    assert found["events_total", DURABLE, "written"] == 80
    assert found["events_total", DURABLE, "buried"] == 1
    assert found["rows_total", "inserted", "chat_pairs"] == 40
    assert found["rows_total", "present", "chat_pairs"] == 40
    assert found["batches_total", DURABLE] >= 2
    assert found["batch_duration_seconds_count", DURABLE] == found["batches_total", DURABLE]
    assert found["last_commit_timestamp_seconds", DURABLE] > 1_700_000_000
    for durable in DURABLES.values():
        assert found["pending", durable.name] >= 0
        assert found["lag_alarm", durable.name] == 0
    if promtool := shutil.which("promtool"):
        check = partial(subprocess.run, input=text.encode(), check=True)
        await asyncio.to_thread(check, [promtool, "check", "metrics"])


async def test_a_stream_that_cannot_be_used_is_named_until_it_can(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
    try:
        js = client.jetstream()
        await js.add_stream(name="EVT", subjects=["evt.>"], storage="memory")
        with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
            await until(lambda: "EVT" in parts(consumer)[1].get("streams", ""))
            assert parts(consumer)[0] == 503
            await publish(js, [exchange(0)])
            await until_acked(js)  # the others are used all the same
            await until(lambda: b"stream_refused" in consumer.log.read_bytes())
            await js.delete_stream("EVT")
            await until(lambda: is_ready(consumer))
    finally:
        await client.close()


async def test_a_durable_that_cannot_be_used_is_named_and_the_others_go_on(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    async with jetstream(nats_server) as js:
        config = ConsumerConfig(
            durable_name="tool_call",
            filter_subject="pipeline.knowledge.tool_call",
            ack_policy=AckPolicy.NONE,
        )
        await js.add_consumer("PIPELINE", config)
        with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
            await publish(js, [exchange(0)])
            await until_acked(js)
            await until(lambda: "tool_call" in parts(consumer)[1].get("durables", ""))
            await js.delete_consumer("PIPELINE", "tool_call")
            await until(lambda: is_ready(consumer))


async def test_an_address_in_use_is_refused(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    with consuming(Consumer(tmp_path, nats_server, dsn)) as first:
        await until(lambda: is_ready(first))
        second = Consumer(tmp_path, nats_server, dsn)
        config = (tmp_path / "consumer.toml").read_text()
        taken = first.url.removeprefix("http://")
        (tmp_path / "consumer.toml").write_text(
            config.replace(second.url.removeprefix("http://"), taken)
        )
        with consuming(second):
            assert second.process is not None
            assert await asyncio.to_thread(second.process.wait, 60) == 1
        assert b"is in use by another program" in second.log.read_bytes()


async def test_rows_that_are_too_old_are_deleted_at_the_start(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    old = [exchange(number, occurred_at=1_000_000_000.0 + number) for number in range(5)]
    fresh = [exchange(number, occurred_at=4_000_000_000.0) for number in range(5, 8)]
    async with jetstream(nats_server) as js:
        with consuming(Consumer(tmp_path, nats_server, dsn)):
            await publish(js, [*old, *fresh])
            await until_acked(js)
        tables = "[retention]\nchat_pairs = 30"
        with consuming(Consumer(tmp_path, nats_server, dsn, tables=tables)) as consumer:
            await until(lambda: rows(dsn, "SELECT count(*) FROM chat_pairs") == [(3,)])
            await until(lambda: samples_of(consumer, "pruned_rows_total", "chat_pairs") == 5)
            await publish(js, [exchange(9, occurred_at=4_000_000_000.0)])
            await until_acked(js)
            assert consumer.stop() == 0
    assert rows(dsn, "SELECT count(*) FROM chat_history") == [(27,)]


def samples_of(consumer: Consumer, *key: str) -> Any:
    try:
        return samples(consumer).get(key)
    except httpx.TransportError:
        return None


async def test_without_an_address_it_consumes_and_ends_all_the_same(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    consumer = Consumer(tmp_path, nats_server, dsn)
    config = (tmp_path / "consumer.toml").read_text()
    listen = consumer.url.removeprefix("http://")
    (tmp_path / "consumer.toml").write_text(config.replace(f'listen = "{listen}"', ""))
    with consuming(consumer):
        async with jetstream(nats_server) as js:
            await publish(js, [exchange(0)])
            await until_acked(js)
        assert parts(consumer) == (0, {})
        assert consumer.stop() == 0


async def test_a_backlog_does_not_grow_its_memory(
    tmp_path: Path, nats_server: NatsServer, dsn: str
) -> None:
    highest = []
    async with jetstream(nats_server) as js:
        for begin, end in ((0, 500), (500, 20_500)):
            await publish_many(js, (exchange(n, size=2000) for n in range(begin, end)))
            with consuming(Consumer(tmp_path, nats_server, dsn)) as consumer:
                await until_acked(js, timeout_s=180)
                highest.append(consumer.rss_bytes())
    assert rows(dsn, "SELECT count(*) FROM chat_pairs") == [(20_500,)]
    assert highest[1] - highest[0] < BACKLOG_BYTES, highest
