"""A conversation becomes a summary: what the model is asked, what stays, what is sealed."""

import time
from dataclasses import replace
from typing import Any

import pytest

from appliance.domain.chat.service import Clock
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import BackendProtocolError, InvalidRequest
from appliance.domain.identity import Identity
from appliance.domain.responses.compaction import (
    PREFACE,
    PROMPT,
    Compactor,
    kept,
    opened,
    sealed,
    with_summaries,
)
from appliance.domain.sealing import Seal
from tests.fakes.chat_backend import FakeBackend, KeptExchanges
from tests.fakes.chat_service import chat_service

SEAL = Seal(b"a secret of these tests")
CALLER = Caller(Identity("t" * 32, "thread"), "openai_responses")


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content, **more}


def returned(text: str) -> ChatRequest:
    """A request that brings a compaction item back."""
    item = {"type": "compaction", "encrypted_content": text}
    return ChatRequest("m", (Message("user", (Unknown("compaction", item),)), plain("user", "So?")))


def test_only_a_gateway_with_the_secret_opens_a_summary() -> None:
    text = sealed(SEAL, "They want tea.")
    assert opened(SEAL, text) == "They want tea."
    assert opened(Seal(b"a secret of somebody else"), text) is None


def test_something_else_we_sealed_is_no_summary() -> None:
    assert opened(SEAL, SEAL.seal({"kind": "reasoning", "text": "hm"})) is None


def test_a_summary_comes_back_as_context() -> None:
    request = with_summaries(returned(sealed(SEAL, "They want tea.")), SEAL)
    assert [m.text for m in request.messages] == [PREFACE + "They want tea.", "So?"]


def test_a_request_without_one_is_left_alone() -> None:
    request = ChatRequest("m", (plain("user", "Hello?"),))
    assert with_summaries(request, SEAL) is request


@pytest.mark.parametrize(
    "change", [lambda t: t[:-2] + "xx", lambda t: "gAAAA-foreign", lambda t: ""]
)
def test_one_that_is_not_ours_is_refused(change: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        with_summaries(returned(change(sealed(SEAL, "They want tea."))), SEAL)
    assert refused.value.code == "invalid_compaction"
    assert refused.value.param == "input"


def test_the_newest_user_messages_stay_as_they_were() -> None:
    items = [
        user("first", id="msg_1"),
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        user([{"type": "input_text", "text": "second"}, {"type": "input_image", "image_url": "u"}]),
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"role": "user", "content": "third"},
    ]
    assert [item["content"] for item in kept(items)] == [
        [{"type": "input_text", "text": text}] for text in ("first", "second", "third")
    ]
    assert kept(items)[0]["id"] == "msg_1"
    assert [item["content"][0]["text"] for item in kept(items, 11)] == ["second", "third"]
    assert kept(items, 3) == ()


def test_the_model_reads_the_conversation_as_one_transcript() -> None:
    sink = KeptExchanges()
    compactor = Compactor(chat_service(sink, Clock(time.time, time.monotonic)), SEAL)
    call = ToolCall("call_1", "weigh", '{"what":"tea"}')
    request = ChatRequest(
        "m",
        (
            plain("system", "Be brief."),
            Message("user", (Text("How heavy?"), Image(url="http://x/y.png"))),
            Message("assistant", (Reasoning("hm"), Text("I look."), call)),
            Message("tool", (ToolResult("call_1", (Text("4 g"), Document("scan.pdf"))),)),
        ),
        dialect="openai_responses",
        extensions=Extensions(route="rag", conversation="c1"),
    )
    turn = compactor.turn(request, CALLER)
    asked = turn.request
    assert [m.role for m in asked.messages] == ["system", "user"]
    assert asked.messages[0].text == PROMPT
    assert asked.messages[1].text.split("\n\n") == [
        "[system] Be brief.",
        "[user] How heavy?",
        "[user] (an image)",
        "[assistant] I look.",
        '[assistant] calls weigh (call_1) with {"what":"tea"}',
        "[tool] result of call_1: 4 g\n(a file: scan.pdf)",
    ]
    assert asked.extensions == replace(request.extensions, route="direct")
    assert not asked.options.tools


async def test_the_summary_is_sealed_and_its_exchange_recorded() -> None:
    sink = KeptExchanges()
    compactor = Compactor(chat_service(sink, Clock(time.time, time.monotonic)), SEAL)
    turn = compactor.turn(ChatRequest("m", (plain("user", "Hello?"),)), CALLER)
    compaction = await compactor.compact(turn, [user("Hello?")])
    assert opened(SEAL, compaction.sealed) == "Hello"
    assert len(compaction.kept) == 1
    assert [exchange.surface for exchange in sink.kept] == ["openai_responses"]


@pytest.mark.parametrize("messages", [(), (plain("system", "Be brief."),)])
def test_without_a_conversation_there_is_nothing_to_compact(messages: Any) -> None:
    compactor = Compactor(chat_service(KeptExchanges(), Clock(time.time, time.monotonic)), SEAL)
    with pytest.raises(InvalidRequest, match="no conversation"):
        compactor.turn(ChatRequest("m", messages), CALLER)


def test_an_earlier_summary_is_part_of_the_next_one() -> None:
    compactor = Compactor(chat_service(KeptExchanges(), Clock(time.time, time.monotonic)), SEAL)
    turn = compactor.turn(returned(sealed(SEAL, "They want tea.")), CALLER)
    assert f"[user] {PREFACE}They want tea." in turn.request.messages[1].text


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_summary_that_was_cut_is_sealed_for_nobody(reason: str) -> None:
    steps = [Delta(text="They want green tea, and then"), Delta(finish_reason=reason)]
    backend = FakeBackend("local", (steps,))
    chat = chat_service(KeptExchanges(), Clock(time.time, time.monotonic), backend)
    compactor = Compactor(chat, SEAL)
    turn = compactor.turn(ChatRequest("m", (plain("user", "Tea?"),)), CALLER)
    with pytest.raises(BackendProtocolError, match=f"was cut .{reason}."):
        await compactor.compact(turn, [user("Tea?")])
