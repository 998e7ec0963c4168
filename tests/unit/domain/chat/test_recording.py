"""What the record of an exchange holds, however the exchange ended."""

import asyncio
import gc
import time
from contextlib import aclosing
from typing import Any

import pytest

from appliance.domain.chat.service import ChatLimits
from appliance.domain.chat.slots import SlotLimits
from appliance.domain.chat.turn import Turn
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Text, ToolCall, ToolResult
from appliance.domain.conversation.stream import Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import (
    BackendBusy,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
)
from appliance.domain.events.exchange import Returned
from tests.fakes.chat_backend import said
from tests.unit.domain.chat.test_service import FACT, SHAPES, Served, backend

QUESTION = "which port does the gateway use"
GONE = BackendUnavailable("gone", backend="local")
THOUGHT = [Delta(reasoning="let me "), Delta(reasoning="see"), Delta(text="80")]
DETAILED = Usage(70, 20, {}, 40, 20, 15)


def outcomes(record: Any) -> list[tuple[str, str]]:
    return [(tried.backend, tried.outcome) for tried in record.attempts]


@SHAPES
async def test_a_finished_exchange_has_its_thoughts_and_every_count(shape: str) -> None:
    served = Served(backend([*THOUGHT, Delta(finish_reason="stop", usage=DETAILED)]))
    await served.ask(shape, served.turn())
    record = served.record
    assert (record.reasoning, record.answer) == ("let me see", "80")
    assert (record.cache_read_tokens, record.cache_write_tokens) == (40, 20)
    assert record.reasoning_tokens == 15
    assert (record.candidates, record.message_count) == (("local",), 1)


@SHAPES
async def test_every_try_is_in_the_order_and_time_it_happened(shape: str) -> None:
    first = backend([0.01, GONE])
    served = Served(first, backend([0.01, *said("x")], name="spare"))
    await served.ask(shape, served.turn())
    record = served.record
    assert outcomes(record) == [
        ("local", "BackendUnavailable"),
        ("local", "BackendUnavailable"),
        ("spare", "ok"),
    ]
    assert record.candidates == ("local", "spare")
    at = 0.0
    for tried in record.attempts:
        assert tried.began_s >= at
        assert tried.duration_s >= 0.009
        at = tried.began_s + tried.duration_s
    assert at <= record.duration_s


@SHAPES
async def test_a_try_begins_with_the_wait_for_its_slot(shape: str) -> None:
    served = Served(backend(said("x")), slots=SlotLimits(1, 1, 5.0))
    slots = served.slots["local"]
    async with slots.slot():
        asking = asyncio.ensure_future(served.ask(shape, served.turn()))
        while not slots.queued:
            await asyncio.sleep(0)
        waited = time.monotonic()
        while time.monotonic() < waited + 0.01:
            await asyncio.sleep(0.001)
    await asking
    (tried,) = served.record.attempts
    assert tried.duration_s >= 0.01


@SHAPES
async def test_a_full_backend_is_a_try_too(shape: str) -> None:
    served = Served(backend(said("x")), slots=SlotLimits(1, 0, 1.0))
    async with served.slots["local"].slot():
        with pytest.raises(BackendBusy):
            await served.ask(shape, served.turn())
    assert outcomes(served.record) == [("local", "BackendBusy")]


async def test_a_cancelled_stream_has_what_was_thought_said_and_counted_until_then() -> None:
    counted = Delta(usage=DETAILED)
    local = backend([*THOUGHT, counted, Delta(text="80"), Delta(text="never")])
    served = Served(local)
    async with aclosing(served.service.stream(served.turn())) as deltas:
        async for delta in deltas:
            if delta is counted:
                break
    record = served.record
    assert (record.status, record.reasoning, record.answer) == ("cancelled", "let me see", "80")
    assert (record.input_tokens, record.cache_read_tokens) == (70, 40)
    assert outcomes(record) == [("local", "cancelled")]


@SHAPES
async def test_cancelled_before_any_answer_the_try_that_was_under_way_is_there(
    shape: str,
) -> None:
    spare = backend([60.0], name="spare")
    served = Served(backend([GONE]), spare)
    asking = asyncio.ensure_future(served.ask(shape, served.turn()))
    while not spare.open:
        await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    record = served.record
    failed = ("local", "BackendUnavailable")
    assert outcomes(record) == [failed, failed, ("spare", "cancelled")]
    assert (record.backend, record.selected_model) == ("spare", "m")


async def test_a_whole_answer_that_takes_too_long_names_the_try_it_was_in() -> None:
    served = Served(backend([60.0]), limits=ChatLimits(0.01, 0.05))
    with pytest.raises(BackendTimeout):
        await served.service.once(served.turn(stream=False))
    assert outcomes(served.record) == [("local", "BackendTimeout")]


async def test_a_stream_its_caller_gave_up_on_names_the_error_of_the_try_it_was_in() -> None:
    served = Served(backend(said("one", "two")))
    turn = served.turn()
    async with aclosing(served.service.stream(turn)) as deltas:
        await anext(deltas)
        served.service.fail(turn, InvalidRequest("the gateway stops"))
    assert outcomes(served.record) == [("local", "InvalidRequest")]


async def test_a_stream_that_breaks_off_has_what_came_before() -> None:
    cut = BackendProtocolError("cut", backend="local")
    served = Served(backend([Delta(usage=DETAILED), *THOUGHT, cut]))
    with pytest.raises(BackendProtocolError):
        await served.stream(served.turn())
    record = served.record
    assert (record.status, record.reasoning, record.answer) == ("failed", "let me see", "80")
    assert record.reasoning_tokens == 15
    assert outcomes(record) == [("local", "BackendProtocolError")]


@SHAPES
async def test_a_failure_after_the_search_keeps_what_was_found(shape: str) -> None:
    served = Served(backend([BackendRefused("no", backend="local", status=400)]), route="rag")
    await served.knows(FACT)
    with pytest.raises(BackendRefused):
        await served.ask(shape, served.turn(QUESTION))
    record = served.record
    assert [hit.document for hit in record.retrieval.hits] == ["ports.md"]
    assert (record.selected_model, record.candidates) == ("m", ("local",))
    assert (record.message_count, len(record.messages)) == (3, 1)
    assert outcomes(record) == [("local", "BackendRefused 400")]


@SHAPES
async def test_a_retrieval_says_when_it_began_what_it_asked_and_what_it_embedded(
    shape: str,
) -> None:
    served = Served(backend(said("8080")), route="rag")
    await served.knows(FACT)
    await served.ask(shape, served.turn(QUESTION))
    record = served.record
    found = record.retrieval
    (tried,) = record.attempts
    assert found.query == QUESTION
    assert 0 < found.began_s <= found.embedding.began_s
    assert found.began_s + found.duration_s <= tried.began_s
    assert (found.embedding.model, found.embedding.texts) == ("words", (QUESTION,))


@SHAPES
async def test_what_could_not_be_told_to_a_backend_of_another_dialect_is_named(shape: str) -> None:
    served = Served(backend(said("x")))
    turn = served.turn(stream=shape == "stream", dialect="anthropic_messages", params={"top_k": 4})
    await served.ask(shape, turn)
    assert served.record.dropped == ("top_k",)


@SHAPES
async def test_results_of_tools_are_recorded_as_the_client_sent_them(shape: str) -> None:
    served = Served(backend(said("80")), route="rag")
    await served.knows(FACT)
    turn = served.turn(QUESTION, stream=shape == "stream")
    turn.request.messages += (
        Message("assistant", (ToolCall("c1", "look", '{"at":1}'),)),
        Message("tool", (ToolResult("c1", (Text("8080"),)),)),
    )
    await served.ask(shape, turn)
    assert served.record.tool_results == (Returned("c1", "look", '{"at":1}', "8080"),)
    assert served.record.message_count == 5


def turns() -> int:
    return sum(type(found) is Turn for found in gc.get_objects())


@SHAPES
async def test_an_exchange_is_freed_without_the_collector(shape: str) -> None:
    served = Served(backend(said("Hel", "lo")))
    gc.collect()
    gc.disable()
    try:
        before = turns()
        await served.ask(shape, served.turn())
        assert served.record.answer == "Hello"
        assert turns() == before
    finally:
        gc.enable()
