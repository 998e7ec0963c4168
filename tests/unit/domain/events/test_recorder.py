import asyncio

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import BackendRefused, PartUnavailable
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.recorder import Call, answered
from appliance.domain.identity import Identity
from tests.fakes.ledger import NOW, Sink, recorder

CALLER = Caller(Identity("t" * 32, "thread"), "surface", Key("laptop", "", ()))
CALL = Call("moderation", "asked", CALLER, Extensions(project="p", conversation="talk"))


def describe(exchange: Exchange, answer: str | None) -> None:
    if answer is not None:
        answered(exchange, answer, "desk-2", "wire", 7)
    exchange.reasoning = f"described at {exchange.duration_s}"


async def given() -> str:
    return "real"


async def test_an_answer_is_recorded_with_who_asked_and_who_answered() -> None:
    sink = Sink()
    assert await recorder(sink).run(CALL, given, describe) == "real"
    (kept,) = sink.seen
    assert (kept.status, kept.http_status) == ("finished", 200)
    assert (kept.operation, kept.route, kept.surface) == ("moderation", "moderation", "surface")
    assert (kept.trace_id, kept.correlation_id, kept.conversation_id) == (
        "t" * 32,
        "thread",
        "talk",
    )
    assert (kept.occurred_at, kept.duration_s, kept.host) == (NOW, 1.0, "desk")
    assert (kept.project, kept.key_name) == ("p", "laptop")
    assert (kept.request_model, kept.selected_model, kept.response_model) == (
        "asked",
        "real",
        "real",
    )
    assert (kept.backend, kept.provider, kept.input_tokens) == ("desk-2", "wire", 7)
    assert kept.reasoning == "described at 1.0"


async def test_without_key_or_conversation_it_is_nobodys_of_its_own_thread() -> None:
    sink = Sink()
    nobody = Caller(CALLER.identity, "surface")
    await recorder(sink).run(Call("rerank", "", nobody, Extensions()), given, describe)
    assert (sink.seen[0].key_name, sink.seen[0].conversation_id) == ("", "thread")


async def test_a_failure_is_recorded_and_raised() -> None:
    sink = Sink()

    async def fails() -> str:
        raise BackendRefused("slow down" * 1000, backend="desk-2", status=429)

    with pytest.raises(BackendRefused):
        await recorder(sink).run(CALL, fails, describe)
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.error_type) == ("failed", 418, "BackendRefused")
    assert kept.error_message == ("slow down" * 1000)[:2000]
    assert (kept.backend, kept.provider) == ("desk-2", "")
    assert (kept.selected_model, kept.response_model) == ("asked", "")
    assert kept.reasoning == "described at 1.0"


async def test_a_caller_that_leaves_is_recorded_as_cancelled() -> None:
    sink, asked = Sink(), asyncio.Event()

    async def never() -> str:
        asked.set()
        await asyncio.Event().wait()
        return ""

    task = asyncio.ensure_future(recorder(sink).run(CALL, never, describe))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.error_type) == ("cancelled", 499, "")


async def test_where_it_must_be_kept_nobody_is_asked_in_vain_and_no_answer_leaves_unkept() -> None:
    asked = []

    async def counted() -> str:
        asked.append(1)
        return "real"

    sink, reasons = Sink(full=True), ["the spool is full", ""]
    strict = recorder(sink, lambda: reasons.pop(0))
    with pytest.raises(PartUnavailable, match="the spool is full"):
        await strict.run(CALL, counted, describe)
    assert not asked
    with pytest.raises(PartUnavailable, match="could not be kept"):
        await strict.run(CALL, counted, describe)
    assert [(kept.status, kept.http_status) for kept in sink.seen] == [
        ("failed", 418),
        ("finished", 200),
    ]
    assert await recorder(Sink(full=True)).run(CALL, given, describe) == "real"
