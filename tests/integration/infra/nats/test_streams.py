import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.infra.nats.connection import connect
from appliance.infra.nats.streams import STREAMS, ensure_streams, request
from tests.fixtures_nats import NatsServer

HOUR = 3600 * 10**9
PIPELINE = {"name": "PIPELINE", "subjects": ["pipeline.>"], "storage": "file"}


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    async with connect(nats_server.config, name="test") as client:
        yield client.jetstream(timeout=5)


async def _config(js: JetStreamContext, name: str) -> dict[str, Any]:
    config: dict[str, Any] = (await request(js, f"STREAM.INFO.{name}", {}))["config"]
    return config


async def _create(js: JetStreamContext, config: dict[str, Any]) -> None:
    await request(js, f"STREAM.CREATE.{config['name']}", config)


async def _sentence(js: JetStreamContext, replicas: int = 1) -> str:
    with pytest.raises(ConfigError) as refused:
        await ensure_streams(js, replicas)
    return str(refused.value)


async def test_a_fresh_server_gets_all_streams(js: JetStreamContext) -> None:
    await ensure_streams(js, 1, wall=lambda: 1_795_000_000.25)
    configs = {spec.name: await _config(js, spec.name) for spec in STREAMS}
    ages = {name: config["max_age"] // HOUR for name, config in configs.items()}
    assert ages == {"PIPELINE": 72, "OBJ_PAYLOADS": 73, "TELEMETRY": 24, "REQ": 24, "EVT": 1}
    discards = {name for name, config in configs.items() if config["discard"] == "new"}
    assert discards == {"PIPELINE", "OBJ_PAYLOADS"}
    for config in configs.values():
        assert (config["storage"], config["retention"]) == ("file", "limits")
        assert (config["max_msgs"], config["max_msgs_per_subject"]) == (-1, -1)
        assert (config["num_replicas"], config["allow_direct"]) == (1, True)
        assert config["duplicate_window"] == 600 * 10**9
    assert (await js.publish("pipeline.first", b"")).seq == 1_795_000_000_250_000


async def test_the_second_time_changes_nothing(js: JetStreamContext) -> None:
    await ensure_streams(js, 1)
    before = [await _config(js, spec.name) for spec in STREAMS]
    await ensure_streams(js, 1)
    assert [await _config(js, spec.name) for spec in STREAMS] == before


async def test_a_stream_that_was_deleted_counts_on_when_it_is_made_again(
    js: JetStreamContext,
) -> None:
    await ensure_streams(js, 1)
    before = (await js.publish("pipeline.x", b"")).seq
    await js.delete_stream("PIPELINE")
    await ensure_streams(js, 1)
    assert (await js.publish("pipeline.x", b"")).seq > before


async def test_processes_that_start_together_agree(nats_server: NatsServer) -> None:
    async def start(number: int) -> None:
        async with connect(nats_server.config, name=f"p{number}") as client:
            await ensure_streams(client.jetstream(timeout=5), 1, wall=lambda: 1000.0 + number)

    await asyncio.gather(*(start(number) for number in range(8)))
    async with connect(nats_server.config, name="look") as client:
        js = client.jetstream(timeout=5)
        assert sorted(info.config.name or "" for info in await js.streams_info()) == sorted(
            spec.name for spec in STREAMS
        )


async def test_an_older_stream_is_brought_up_to_date_and_keeps_what_else_it_has(
    js: JetStreamContext,
) -> None:
    found = {
        **PIPELINE,
        "max_age": HOUR,
        "discard": "old",
        "no_ack": True,
        "max_msgs_per_subject": 10,
        "max_msg_size": 4096,
        "max_bytes": 10**8,
        "retention": "interest",
        "duplicate_window": 10**9,
        "compression": "s2",
        "description": "ours",
        "metadata": {"owner": "me"},
    }
    await _create(js, found)
    await ensure_streams(js, 1)
    config = await _config(js, "PIPELINE")
    assert (config["max_age"], config["discard"], config["retention"]) == (
        72 * HOUR,
        "new",
        "limits",
    )
    assert (config["max_msgs_per_subject"], config["max_msg_size"]) == (-1, -1)
    assert not config.get("no_ack")
    assert config["duplicate_window"] == 600 * 10**9
    kept = (config["max_bytes"], config["compression"], config["description"])
    assert kept == (10**8, "s2", "ours")
    assert config["metadata"]["owner"] == "me"


@pytest.mark.parametrize(("max_age", "payloads"), [(30 * 24 * HOUR, 721 * HOUR), (0, 0)])
async def test_messages_kept_longer_stay_so_and_their_payloads_with_them(
    js: JetStreamContext, max_age: int, payloads: int
) -> None:
    await _create(js, {**PIPELINE, "max_age": max_age})
    await ensure_streams(js, 1)
    assert (await _config(js, "PIPELINE"))["max_age"] == max_age
    assert (await _config(js, "OBJ_PAYLOADS"))["max_age"] == payloads


async def test_subjects_are_widened_and_other_ones_stay(js: JetStreamContext) -> None:
    await _create(js, {**PIPELINE, "subjects": ["mine.too", "pipeline.knowledge.>", "pipeline.x"]})
    await ensure_streams(js, 1)
    assert (await _config(js, "PIPELINE"))["subjects"] == ["mine.too", "pipeline.>"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ({"storage": "memory"}, "is kept in memory, so a restart of NATS loses it"),
        ({"retention": "workqueue"}, "has retention workqueue"),
        ({"persist_mode": "async"}, "has persist_mode async"),
        ({"allow_msg_counter": True}, "holds counters"),
        ({"deny_delete": True}, "denies deletes, so `appliance forget` could not"),
        ({"deny_purge": True}, "denies purges, so `appliance forget` could not"),
    ],
)
async def test_what_nats_cannot_change_is_refused(
    js: JetStreamContext, field: dict[str, Any], wrong: str
) -> None:
    await _create(js, {**PIPELINE, **field})
    sentence = await _sentence(js)
    assert sentence.startswith(f"the stream PIPELINE {wrong}")
    assert "delete it (`nats stream rm PIPELINE`)" in sentence


async def test_a_sealed_stream_is_refused(js: JetStreamContext) -> None:
    await _create(js, {"name": "REQ", "subjects": ["req.>"], "storage": "file"})
    await request(js, "STREAM.UPDATE.REQ", {**await _config(js, "REQ"), "sealed": True})
    assert (await _sentence(js)).startswith("the stream REQ is sealed, so nothing can be added")


async def test_a_mirror_is_refused(js: JetStreamContext) -> None:
    await _create(js, {"name": "SOURCE", "subjects": ["source.>"], "storage": "file"})
    await _create(js, {"name": "EVT", "mirror": {"name": "SOURCE"}, "storage": "file"})
    assert (await _sentence(js)).startswith("the stream EVT is a mirror of another stream")


async def test_a_stream_that_renames_is_refused(js: JetStreamContext) -> None:
    transform = {"src": "pipeline.>", "dest": "elsewhere.>"}
    await _create(js, {**PIPELINE, "subject_transform": transform})
    sentence = await _sentence(js)
    assert "stores messages under other subjects (subject_transform)" in sentence
    assert sentence.endswith("remove the transform (`nats stream edit PIPELINE`)")


async def test_somebody_elses_stream_of_our_name_is_refused(js: JetStreamContext) -> None:
    await _create(js, {**PIPELINE, "subjects": ["ci.>"]})
    sentence = await _sentence(js)
    assert sentence.startswith("the stream PIPELINE takes ci.> and not pipeline.>")
    assert (await _config(js, "PIPELINE"))["subjects"] == ["ci.>"]


async def test_a_stream_that_already_takes_our_subjects_is_named(js: JetStreamContext) -> None:
    await _create(js, {"name": "CI", "subjects": ["pipeline.build"], "storage": "file"})
    sentence = await _sentence(js)
    assert "the stream PIPELINE cannot take pipeline.>, because the stream CI" in sentence


async def test_one_that_is_refused_does_not_stop_the_others(js: JetStreamContext) -> None:
    await _create(js, {**PIPELINE, "storage": "memory"})
    await _sentence(js)
    assert (await js.publish("telemetry.x", b"")).stream == "TELEMETRY"
    assert (await _config(js, "OBJ_PAYLOADS"))["max_age"] == 73 * HOUR


async def test_replicas_on_a_server_that_is_alone_are_refused(js: JetStreamContext) -> None:
    sentence = await _sentence(js, replicas=3)
    assert "the stream PIPELINE (replicas > 1 not supported in non-clustered mode)" in sentence
    assert "`[nats] replicas` above 1 needs a NATS cluster" in sentence
    await ensure_streams(js, 1)
    assert "`[nats] replicas` above 1 needs a NATS cluster" in await _sentence(js, replicas=3)


@asynccontextmanager
async def _account(folder: Path, limits: str) -> AsyncIterator[JetStreamContext]:
    """The JetStream of an account with these limits."""
    users = "users: [{ user: us, password: them }]"
    server = NatsServer(folder, access=f"accounts {{ A {{ {users}, jetstream: {limits} }} }}")
    server.start()
    try:
        config = NatsConfig(url=f"nats://us:them@127.0.0.1:{server.port}")
        async with connect(config, name="test") as client:
            yield client.jetstream(timeout=5)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("{ max_streams: 2 }", "the account may have no more streams"),
        ("{ max_file: 10M }", "TELEMETRY (insufficient storage resources available): the server"),
        ("{ max_bytes_required: true }", "create PIPELINE yourself with `--max-bytes`"),
        ("disabled", "NATS has no JetStream for this account"),
    ],
)
async def test_an_account_without_room_is_told_so(tmp_path: Path, limits: str, says: str) -> None:
    async with _account(tmp_path, limits) as js:
        assert says in await _sentence(js)


async def test_a_server_without_jetstream_is_told_so_once(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, more="jetstream: false\n")
    server.start()
    try:
        async with connect(server.config, name="test") as client:
            sentence = await _sentence(client.jetstream(timeout=5))
    finally:
        server.kill()
    assert sentence.startswith("NATS has no JetStream for this account: start the server with")
    assert sentence.count("NATS has no JetStream") == 1


async def test_a_stream_made_with_the_byte_limit_an_account_wants_is_used(tmp_path: Path) -> None:
    async with _account(tmp_path, "{ max_bytes_required: true }") as js:
        for spec in STREAMS:
            stream = {"name": spec.name, "subjects": list(spec.subjects), "storage": "file"}
            await _create(js, {**stream, "max_bytes": 10**7})
        await ensure_streams(js, 1)
        assert (await _config(js, "PIPELINE"))["max_bytes"] == 10**7
