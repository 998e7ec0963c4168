"""A response that is a summary of its conversation: one sealed item, or a failure."""

import asyncio
import json
from dataclasses import replace

import pytest

from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import BackendRefused, InvalidRequest
from appliance.domain.responses.compaction import PROMPT, opened
from appliance.domain.responses.record import ResponseRequest
from appliance.domain.sealing import Seal
from tests.fakes.chat_backend import FakeBackend, Step, said
from tests.fakes.responses import (
    MemoryEvents,
    MemoryResponses,
    asked,
    caller,
    gateway,
    read,
    words,
)

SEAL = Seal(b"a secret of the tests")  # that of the fake gateway


def compacting(stream: bool) -> ResponseRequest:
    return replace(asked("What now?", stream=stream), compacts=True)


def summary(store: MemoryResponses) -> str | None:
    """What the stored response is opened as."""
    resource = store.rows["resp_t1"].resource.decode()
    return opened(SEAL, resource.split('"output": "')[1].split('"')[0])


async def test_a_streamed_summary_is_one_sealed_item() -> None:
    store = MemoryResponses()
    steps = [Delta(reasoning="hm"), *said("Tea is wanted.")]
    one = gateway(store, MemoryEvents(), FakeBackend("local", (steps,)))
    production = await one.service.begin(compacting(stream=True), caller("t1"))
    await production.open()
    told = words(await read(production.frames()))
    await production.close()
    assert told[0] == "opening"
    assert set(told[1:-3]) == {"compacting"}
    assert told[-3:] == ["close", "compacted", "completed store=True"]
    assert summary(store) == "Tea is wanted."


async def test_one_that_is_asked_for_once_is_the_same() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(compacting(stream=False), caller("t1"))
    await production.once()
    assert summary(store) == "Hello"
    assert production.turn.request.messages[0].text == PROMPT
    assert production.turn.request.messages[1].text == "[user] What now?"


@pytest.mark.parametrize(
    "steps",
    [
        [Delta(reasoning="hm"), Delta(finish_reason="stop")],
        [*said(" \n")],
        [Delta(text="Tea is"), Delta(finish_reason="length")],
        [Delta(text="Tea is"), Delta(finish_reason="content_filter")],
        [Delta(text="Tea is"), BackendRefused("no more", backend="local", status=400)],
    ],
)
async def test_without_a_whole_summary_it_fails_and_has_no_item(steps: list[Step]) -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents(), FakeBackend("local", (steps,)))
    production = await one.service.begin(compacting(stream=True), caller("t1"))
    await production.open()
    told = words(await read(production.frames()))
    await production.close()
    assert "compacted" not in told
    assert told[-1].startswith("failed")
    assert store.rows["resp_t1"].status == "failed"


async def test_one_that_was_cut_fails_where_it_is_asked_for_once_too() -> None:
    store = MemoryResponses()
    steps = [Delta(text="Tea is"), Delta(finish_reason="length")]
    one = gateway(store, MemoryEvents(), FakeBackend("local", (steps,)))
    production = await one.service.begin(compacting(stream=False), caller("t1"))
    assert json.loads(await production.once())["status"] == "failed"
    assert "was cut (length)" in words(store.rows["resp_t1"].events)[-1]


async def test_a_summary_whose_client_leaves_is_cancelled() -> None:
    store = MemoryResponses()
    backend = FakeBackend("local", ([Delta(text="Tea"), asyncio.Event()],))
    one = gateway(store, MemoryEvents(), backend)
    production = await one.service.begin(compacting(stream=True), caller("t1"))
    await production.open()
    await anext(production.frames())
    await production.close()
    await one.service.close()
    assert store.rows["resp_t1"].status == "cancelled"
    assert "compacted" not in words(store.rows["resp_t1"].events)


@pytest.mark.parametrize(
    ("messages", "why"), [((), "nothing in it"), ((plain("system", "x"),), "no conversation")]
)
async def test_where_there_is_no_conversation_nothing_is_asked(
    messages: tuple[Message, ...], why: str
) -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    chat = replace(asked().continued(()), messages=messages)
    with pytest.raises(InvalidRequest, match=why):
        await one.service.begin(
            replace(compacting(stream=True), continued=lambda _: chat), caller("t1")
        )
