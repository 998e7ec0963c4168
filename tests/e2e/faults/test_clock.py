"""The clock goes back an hour: order and uniqueness hold all the same.

In process, through the clock ports, with the real spool, NATS, consumer and PostgreSQL.
"""

import asyncio
import os
import time
from contextlib import aclosing
from pathlib import Path

import psycopg

from appliance.config.schema import SpoolConfig
from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Text
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.identity import Identity, new_trace_id
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.spool.spool import Spool
from tests.e2e.faults.claim import WITHIN_S
from tests.fakes.chat_service import chat_service
from tests.fakes.rig import Nats, Rig
from tests.fakes.scripted_backend import ScriptedBackend

HOUR_S = 3600.0
TURNS = 15
CONVERSATION = "between the hours"


class JumpingClock:
    """Wall time that is set by hand."""

    def __init__(self) -> None:
        self._offset_s = 0.0

    def wall(self) -> float:
        return time.time() + self._offset_s

    def jump(self, seconds: float) -> None:
        self._offset_s += seconds


async def test_a_clock_set_back_while_serving_changes_no_order(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    clock = JumpingClock()
    with Nats(tmp_path) as nats, Rig(tmp_path, scripted.base_url, nats.config, dsn).consumer():
        async with (
            Spool(tmp_path / "spool", SpoolConfig(), clock.wall) as spool,
            Shipper(spool, nats.config, "desk"),
        ):
            asked = await _converse(spool, clock)
            clock.jump(-HOUR_S)
            asked += await _converse(spool, clock)
            clock.jump(2 * HOUR_S)
            asked += await _converse(spool, clock)
            rows = await _wait_rows(dsn, len(asked))
    assert len(set(asked)) == 3 * TURNS
    assert rows == asked
    assert sorted(asked) != asked, "the ids follow the clock, and the clock went back"


async def test_a_clock_set_back_between_two_gateways_that_died_changes_no_order(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    """Both left a spool, and a third one ships what they left."""
    clock, folder = JumpingClock(), tmp_path / "spool"
    asked = []
    for _ in range(2):
        async with Spool(folder, SpoolConfig(), clock.wall) as spool:
            asked += await _converse(spool, clock)
        clock.jump(-HOUR_S)
    with Nats(tmp_path) as nats, Rig(tmp_path, scripted.base_url, nats.config, dsn).consumer():
        async with (
            Spool(folder, SpoolConfig(), clock.wall) as spool,
            Shipper(spool, nats.config, "desk"),
        ):
            asked += await _converse(spool, clock)
            rows = await _wait_rows(dsn, len(asked))
    assert rows == asked


async def _converse(spool: Spool, clock: JumpingClock) -> list[str]:
    """Turns of one conversation, each asked when the last was answered; their trace ids."""
    service = chat_service(spool, Clock(clock.wall, time.monotonic))
    message = Message("user", (Text("hello"),), {"role": "user", "content": "hello"})
    extensions = Extensions(conversation=CONVERSATION)
    trace_ids = []
    for _ in range(TURNS):
        trace_id = new_trace_id(int(clock.wall() * 1000), os.urandom(10))
        request = ChatRequest("m", (message,), True, extensions=extensions)
        turn = service.turn(request, Caller(Identity(trace_id, "thread"), "openai_chat"))
        async with aclosing(service.stream(turn)) as deltas:
            _ = [delta async for delta in deltas]
        trace_ids.append(trace_id)
    return trace_ids


async def _wait_rows(dsn: str, count: int) -> list[str]:
    """The trace ids of the conversation's rows in their order, once there are `count`."""
    query = "SELECT trace_id FROM chat_pairs WHERE conversation_id = %s ORDER BY stream_sequence"
    deadline = time.monotonic() + WITHIN_S
    while True:
        with psycopg.connect(dsn) as connection:
            rows = [row[0] for row in connection.execute(query, (CONVERSATION,))]
        if len(rows) >= count:
            return rows
        assert time.monotonic() < deadline, f"{len(rows)} of {count} rows"
        await asyncio.sleep(0.1)
