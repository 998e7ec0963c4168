"""A turn of a WebSocket: what a connection remembers after one that failed, and its end."""

import asyncio
import json
from typing import Any

import pytest

from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import BackendRefused, PartUnavailable
from appliance.domain.identity import Identity
from appliance.domain.responses.memory import Memories
from appliance.presentation.surface import RESPONSES
from appliance.transport.context import RequestContext
from appliance.transport.responses_turn import ClientStuck, TurnRunner
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.responses import MemoryEvents, MemoryResponses, gateway

REFUSAL = BackendRefused("broke", backend="local", status=500)
LONG_LANE = "\x01" * 256  # six times as long once it is JSON


class Connection:
    """Its turns, one after the other, each with the last frame it was answered with."""

    def __init__(self, backend: FakeBackend) -> None:
        one = gateway(MemoryResponses(), MemoryEvents(), backend, RESPONSES.wire, unstored="off")
        self.sent: list[str] = []
        self.takes = asyncio.Event()  # the client reads
        self.takes.set()
        self.sending = asyncio.Event()
        self.turn = RequestContext(Identity("", ""), {}, 0.0)
        self.runner = TurnRunner(one.service, Memories(10_000).connection(), self.send, 10_000)

    async def send(self, message: str) -> None:
        self.sending.set()
        await self.takes.wait()
        self.sent.append(message)

    async def ask(self, trace_id: str, previous: str | None = None) -> dict[str, Any]:
        body = {"type": "response.create", "model": "m", "input": "hi", "stream_id": LONG_LANE}
        self.turn = RequestContext(Identity(trace_id, "c"), {}, 0.0)
        await self.runner.run(json.dumps({**body, "previous_response_id": previous}), self.turn)
        return dict(json.loads(self.sent[-1]))


async def test_what_a_turn_that_failed_continued_is_forgotten_whatever_its_lane() -> None:
    backend = FakeBackend("local", (said("one"), [Delta(text="t"), REFUSAL], said("never")))
    connection = Connection(backend)
    assert (await connection.ask("t1"))["type"] == "response.completed"
    assert (await connection.ask("t2", "resp_t1"))["type"] == "response.failed"
    refused = await connection.ask("t3", "resp_t1")
    assert refused["error"]["code"] == "previous_response_not_found"


async def test_a_turn_that_begins_while_the_gateway_stops_asks_nobody() -> None:
    backend = FakeBackend("local", (said("one"),))
    connection = Connection(backend)
    connection.runner.interrupt(PartUnavailable("The gateway is stopping.", part="gateway"))
    assert (await connection.ask("t1"))["status"] == 503
    assert backend.asked == []


async def test_a_turn_that_must_end_while_its_client_takes_nothing_says_why_it_did() -> None:
    connection = Connection(FakeBackend("local", ([Delta(text="t"), asyncio.Event()],)))
    connection.takes.clear()
    asking = asyncio.ensure_future(connection.ask("t1"))
    await connection.sending.wait()
    connection.runner.interrupt(PartUnavailable("too late", part="gateway"))
    with pytest.raises(ClientStuck, match="too late"):
        await asking
    assert (connection.turn.status, connection.sent) == (503, [])
