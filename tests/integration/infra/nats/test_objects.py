import hashlib
import os
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nats.js.errors
import pytest
from nats.js import JetStreamContext

from appliance.infra.nats.connection import connect
from appliance.infra.nats.objects import CHUNK_BYTES, FRESH_S, PayloadGone, Payloads, is_reference
from appliance.infra.nats.streams import ensure_streams, request
from tests.fixtures_nats import NatsServer

NAME = "0123:pipeline.knowledge.chat.persist"
STREAM = "OBJ_PAYLOADS"
DATA = os.urandom(3 * CHUNK_BYTES + 17)
FIELDS = ("trace_id", "correlation_id", "conversation_id", "occurred_at", "schema", "host")
BODY = {"event_id": NAME, **{field: f"its {field}" for field in FIELDS}, "answer": "much"}


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    async with connect(nats_server.config, name="test") as client:
        js = client.jetstream(timeout=5)
        await ensure_streams(js, 1)
        yield js


async def _messages(js: JetStreamContext) -> dict[str, int]:
    """How many messages of each subject the bucket holds."""
    info = await request(js, f"STREAM.INFO.{STREAM}", {"subjects_filter": ">"})
    subjects: dict[str, int] = info["state"].get("subjects") or {}
    return subjects


async def _chunks(js: JetStreamContext) -> str:
    """The subject of the chunks of the only object."""
    (subject,) = [s for s in await _messages(js) if s.startswith("$O.PAYLOADS.C.")]
    return subject


async def test_what_was_put_is_resolved(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    message = await payloads.put(BODY, DATA)
    assert is_reference(message)
    decoded = msgspec.json.decode(message)
    reference = decoded.pop("payload_ref")
    assert decoded == {k: v for k, v in BODY.items() if k != "answer"}
    assert reference == {
        "bucket": "PAYLOADS",
        "object": NAME,
        "size": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    assert await payloads.resolve(message) == DATA


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_every_size_comes_back(js: JetStreamContext, size: int) -> None:
    payloads = Payloads(js)
    assert await payloads.resolve(await payloads.put(BODY, DATA[:size])) == DATA[:size]


async def test_the_object_store_of_nats_reads_it(js: JetStreamContext) -> None:
    await Payloads(js).put(BODY, DATA)
    store = await js.object_store("PAYLOADS")
    assert (await store.get(NAME)).data == DATA


async def test_a_hundred_megabytes_take_little_beside_themselves(js: JetStreamContext) -> None:
    payloads, data = Payloads(js), os.urandom(1024 * 1024) * 100
    tracemalloc.start()
    try:
        message = await payloads.put(BODY, data)
        assert _peak_bytes() < 0.2 * len(data)
        whole = await payloads.resolve(message)
        assert _peak_bytes() < 1.2 * len(data)
    finally:
        tracemalloc.stop()
    assert whole == data


def _peak_bytes() -> int:
    """The most that was allocated at once since the last time."""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    return peak


async def test_the_same_event_again_is_one_object(js: JetStreamContext) -> None:
    first = await Payloads(js).put(BODY, DATA)
    before = await _messages(js)
    assert await Payloads(js).put(BODY, DATA) == first
    assert await _messages(js) == before


async def test_what_a_killed_put_left_is_cleared_by_the_next(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    await payloads.put(BODY, DATA)
    described = [s for s in await _messages(js) if s.startswith("$O.PAYLOADS.M.")]
    await js.purge_stream(STREAM, subject=described[0])  # killed before it came to that
    message = await payloads.put(BODY, DATA)
    assert sorted((await _messages(js)).values()) == [1, 4]
    assert await payloads.resolve(message) == DATA


async def test_an_event_that_is_published_late_gets_an_object_that_outlives_it(
    js: JetStreamContext,
) -> None:
    first = await Payloads(js).put(BODY, DATA)
    before = await _chunks(js)
    late = Payloads(js, wall=lambda: time.time() + FRESH_S + 1)
    assert await late.put(BODY, DATA) == first
    assert await _chunks(js) != before
    assert await late.resolve(first) == DATA


async def test_other_data_of_the_same_event_replaces_it(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    old = await payloads.put(BODY, DATA)
    new = await payloads.put(BODY, DATA[1:])
    assert await payloads.resolve(new) == DATA[1:]
    assert sorted((await _messages(js)).values()) == [1, 4]
    with pytest.raises(PayloadGone):
        await payloads.resolve(old)


async def test_a_missing_payload_is_said_to_be_gone(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    message = await payloads.put(BODY, DATA)
    assert await payloads.remove(NAME)
    assert await _messages(js) == {}
    with pytest.raises(PayloadGone, match=f"{NAME} is not in the bucket PAYLOADS any more"):
        await payloads.resolve(message)
    assert not await payloads.remove(NAME)


async def test_removing_one_leaves_the_others(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    other = await payloads.put({**BODY, "event_id": f"{NAME}:1"}, DATA)
    await payloads.put(BODY, DATA)
    assert await payloads.remove(NAME)
    assert await payloads.resolve(other) == DATA


async def _lose_a_chunk(js: JetStreamContext) -> None:
    message = await js.get_msg(STREAM, 1, await _chunks(js), next=True)
    await js.delete_msg(STREAM, message.seq or 0)


async def _change_a_chunk(js: JetStreamContext) -> None:
    await _lose_a_chunk(js)
    await js.publish(await _chunks(js), DATA[:CHUNK_BYTES][::-1])


async def _add_a_chunk(js: JetStreamContext) -> None:
    subject = await _chunks(js)
    last = await js.get_last_msg(STREAM, subject)
    await js.delete_msg(STREAM, last.seq or 0)
    await js.publish(subject, DATA)


async def _spoil_the_description(js: JetStreamContext) -> None:
    (subject,) = [s for s in await _messages(js) if s.startswith("$O.PAYLOADS.M.")]
    await js.publish(subject, b"{}", headers={"Nats-Rollup": "sub"})


@pytest.mark.parametrize(
    "damage", [_lose_a_chunk, _change_a_chunk, _add_a_chunk, _spoil_the_description]
)
async def test_a_damaged_payload_is_never_handed_out(js: JetStreamContext, damage: Any) -> None:
    payloads = Payloads(js)
    message = await payloads.put(BODY, DATA)
    await damage(js)
    with pytest.raises(PayloadGone):
        await payloads.resolve(message)


async def test_a_bucket_that_was_deleted_is_made_again(js: JetStreamContext) -> None:
    payloads = Payloads(js)
    message = await payloads.put(BODY, DATA)
    await js.delete_stream(STREAM)
    with pytest.raises(PayloadGone):
        await payloads.resolve(message)
    assert not await payloads.remove(NAME)
    assert await payloads.put(BODY, DATA) == message
    assert await payloads.resolve(message) == DATA


async def test_a_bucket_that_is_full_keeps_nothing_of_what_it_refuses(
    js: JetStreamContext,
) -> None:
    config = (await request(js, f"STREAM.INFO.{STREAM}", {}))["config"]
    await request(js, f"STREAM.UPDATE.{STREAM}", {**config, "max_bytes": 2 * CHUNK_BYTES})
    with pytest.raises(nats.js.errors.APIError):
        await Payloads(js).put(BODY, DATA)
    assert await _messages(js) == {}


async def test_a_server_of_small_messages_gets_small_chunks(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, max_payload=32 * 1024)
    server.start()
    try:
        async with connect(server.config, name="test") as client:
            payloads = Payloads(client.jetstream(timeout=5))
            assert await payloads.resolve(await payloads.put(BODY, DATA)) == DATA
    finally:
        server.kill()
