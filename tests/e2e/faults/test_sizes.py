"""The largest request and the largest event, and one byte more."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest

from appliance.config.schema import GatewayConfig, SpoolConfig
from appliance.domain.events.topics import events_of
from appliance.infra.nats.objects import is_reference
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.spool.spool import Spool
from tests.e2e.faults.claim import WITHIN_S
from tests.e2e.faults.faulty import Faulty
from tests.e2e.faults.streams import persisted
from tests.fakes.appliance import Appliance
from tests.fakes.exchanges import exchange
from tests.fakes.rig import Nats, Rig
from tests.fakes.scripted_backend import ScriptedBackend

MAX_BODY_BYTES = GatewayConfig().max_body_bytes
MIB = 1024 * 1024
STORED_BYTES = 32 * MIB  # of nats-server's file store, a record's frame included


async def test_a_request_of_the_largest_size_becomes_a_row(
    appliance: Faulty, running: Appliance
) -> None:
    body = _body(MAX_BODY_BYTES)
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
        response = await client.post("/v1/chat/completions", content=body)
    assert response.status_code == 200, response.text
    content = json.loads(body)["messages"][0]["content"]
    trace_id = response.headers["x-request-id"]
    assert await _wait_contents(appliance.dsn, [trace_id]) == {trace_id: len(content)}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_one_byte_more_is_refused_in_the_words_of_the_surface(
    running: Appliance, path: str
) -> None:
    response = httpx.post(f"{running.url}{path}", content=_body(MAX_BODY_BYTES + 1), timeout=60)
    assert response.status_code == 413
    told = response.json()
    assert str(MAX_BODY_BYTES) in told["error"]["message"]
    if path == "/v1/messages":
        assert (told["type"], told["error"]["type"]) == ("error", "request_too_large")
    else:
        assert set(told["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("max_payload", [MIB, 64 * MIB])
async def test_events_around_the_largest_message_become_rows(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str, max_payload: int
) -> None:
    """Each is whole in its row, whether it went as a message or by reference.  JetStream stores
    nothing from 32 MiB on, whatever the server lets in."""
    largest = min(max_payload, STORED_BYTES)
    sizes = [largest + more for more in (-4200, -1, 0, 1)]
    frame = len(_event_bytes(0))
    traces = [f"{number:032x}" for number in range(len(sizes))]
    nats = Nats(tmp_path, max_payload=max_payload)
    with nats, Rig(tmp_path, scripted.base_url, nats.config, dsn).consumer():
        async with (
            Spool(tmp_path / "spool", SpoolConfig()) as spool,
            Shipper(spool, nats.config, "desk"),
        ):
            for number, size in enumerate(sizes):
                assert len(_event_bytes(size - frame)) == size
                assert spool.keep(exchange(number, size=size - frame))
            found = await _wait_contents(dsn, traces)
        messages = await persisted(nats.url)
    said = len("question 0 ")
    assert found == {t: size - frame + said for t, size in zip(traces, sizes, strict=True)}
    by_reference = {trace for trace, data in messages.items() if is_reference(data)}
    assert traces[0] not in by_reference
    assert by_reference >= {t for t, size in zip(traces, sizes, strict=True) if size > largest}


async def test_what_goes_by_reference_keeps_its_place_in_the_conversation(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    sizes = [100, MIB, 100, 100, 2 * MIB, 100] * 3
    traces = [f"{number:032x}" for number in range(len(sizes))]
    nats = Nats(tmp_path, max_payload=MIB)
    with nats, Rig(tmp_path, scripted.base_url, nats.config, dsn).consumer():
        async with (
            Spool(tmp_path / "spool", SpoolConfig()) as spool,
            Shipper(spool, nats.config, "desk"),
        ):
            for number, size in enumerate(sizes):
                assert spool.keep(exchange(number, size=size, conversation_id="one"))
            found = await _wait_contents(dsn, traces)
    assert list(found) == traces


def _event_bytes(size: int) -> bytes:
    return msgspec.json.encode(next(events_of(exchange(0, size=size))).body)


def _body(size: int) -> bytes:
    """A chat request of exactly `size` bytes."""
    asked = {"model": "once", "max_tokens": 5, "messages": [{"role": "user", "content": ""}]}
    padding = size - len(json.dumps(asked))
    asked["messages"] = [{"role": "user", "content": "x" * padding}]
    return json.dumps(asked).encode()


async def _wait_contents(dsn: str, trace_ids: list[str]) -> dict[str, int]:
    """The length of what the user said in each pair, in the order of the rows, once all are
    there."""
    query = (
        "SELECT trace_id, length(prompt) FROM chat_pairs WHERE trace_id = ANY(%s) "
        "ORDER BY stream_sequence"
    )
    deadline = time.monotonic() + WITHIN_S
    while True:
        with psycopg.connect(dsn) as connection:
            found: dict[str, int] = dict(connection.execute(query, (trace_ids,)).fetchall())
        if len(found) == len(trace_ids):
            return found
        assert time.monotonic() < deadline, f"of {trace_ids} there are only {sorted(found)}"
        await asyncio.sleep(0.1)
