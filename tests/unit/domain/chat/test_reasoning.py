"""Reasoning signed for a client, and the client's next turn opened again."""

from dataclasses import replace

from appliance.domain.chat.reasoning import Signer, unsealed
from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.parsing.chain import Chain, Parsing
from appliance.domain.sealing import Seal

SEAL = Seal(b"a secret of the tests")
ASKED = ChatRequest("m", (), signs_reasoning=True)
THOUGHT_SIGNATURE = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


def signer() -> Signer:
    return Signer(Chain(Parsing(), ASKED), SEAL)


def said(*deltas: Delta) -> Choice:
    """The choice these deltas of a backend add up to for a client."""
    one, whole = signer(), Collector()
    for delta in deltas:
        whole.add(one.feed(delta))
    whole.add(one.end())
    return whole.choices[0]


def again(*parts: object, **fields: object) -> Message:
    """The assistant turn as the next request brings it, opened."""
    message = Message("assistant", tuple(parts), {"role": "assistant"})  # type: ignore[arg-type]
    request = replace(ASKED, messages=(message,), **fields)  # type: ignore[arg-type]
    return unsealed(request, SEAL).messages[0]


def test_reasoning_is_signed_once_before_anything_else_is_said() -> None:
    choice = said(
        Delta(reasoning="let me "),
        Delta(reasoning="see"),
        Delta(text="It is 4."),
        Delta(finish_reason="stop"),
    )
    reasoning, text = choice.parts
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.text, text) == ("let me see", Text("It is 4."))
    assert SEAL.open(reasoning.signature) == {"kind": "reasoning"}


def test_reasoning_that_ends_the_answer_is_signed_too() -> None:
    (reasoning,) = said(Delta(reasoning="endless"), Delta(finish_reason="length")).parts
    assert isinstance(reasoning, Reasoning)
    assert reasoning.signature


def test_an_answer_without_reasoning_gets_no_signature() -> None:
    assert said(Delta(text="4"), Delta(finish_reason="stop")).parts == (Text("4"),)


def test_a_signature_of_the_backends_own_is_left_as_it_is() -> None:
    reasoning, _ = said(
        Delta(reasoning="hm"),
        Delta(signature="theirs"),
        Delta(text="4"),
        Delta(finish_reason="stop"),
    ).parts
    assert reasoning == Reasoning("hm", "theirs")


def test_what_a_call_brings_for_its_backend_comes_back_with_it_and_not_in_its_id() -> None:
    """WIRE 3.4 and litellm#25561."""
    step = ToolCallDelta(0, "call_1", "look", "{}", THOUGHT_SIGNATURE)
    choice = said(Delta(tool_calls=(step,)), Delta(finish_reason="tool_calls"))
    reasoning, call = choice.parts
    assert isinstance(reasoning, Reasoning)
    assert isinstance(call, ToolCall)
    assert (reasoning.text, call.id) == ("", "call_1")
    opened = again(reasoning, ToolCall("call_1", "look", "{}"))
    assert opened.edited
    assert opened.parts[1] == ToolCall("call_1", "look", "{}", THOUGHT_SIGNATURE)


def test_a_whole_answer_is_signed_as_a_stream_is() -> None:
    call = ToolCall("call_1", "look", "{}", THOUGHT_SIGNATURE)
    whole = Answer((Choice(0, (Reasoning("hm"), call), "tool_calls"),))
    signed = signer().answer(whole).first
    step = ToolCallDelta(0, "call_1", "look", "{}", THOUGHT_SIGNATURE)
    streamed = said(
        Delta(reasoning="hm"), Delta(tool_calls=(step,)), Delta(finish_reason="tool_calls")
    )
    assert signed == streamed


def test_our_own_signature_is_taken_off_and_the_thought_stays() -> None:
    signature = SEAL.seal({"kind": "reasoning"})
    opened = again(Reasoning("hm", signature, source={"type": "thinking"}), Text("4"))
    assert opened.parts == (Reasoning("hm"), Text("4"))
    assert opened.edited


def test_a_signature_of_somebody_else_stays_byte_for_byte() -> None:
    """CLIProxyAPI#420: an edited block is refused by who signed it."""
    theirs = Reasoning("hm", "EqoBCkgIAR==", source={"type": "thinking"})
    message = again(theirs, Text("4"))
    assert message.parts[0] is theirs
    assert not message.edited


def test_a_surface_that_signs_nothing_is_not_looked_at() -> None:
    signature = SEAL.seal({"kind": "reasoning"})
    assert not again(Reasoning("hm", signature), signs_reasoning=False).edited


def test_a_seal_of_another_kind_is_not_a_signature() -> None:
    assert not again(Reasoning("hm", SEAL.seal({"kind": "compaction"}))).edited


def test_reasoning_before_a_refusal_is_signed_before_it() -> None:
    reasoning, refusal = said(
        Delta(reasoning="hm"), Delta(refusal="No."), Delta(finish_reason="stop")
    ).parts
    assert isinstance(reasoning, Reasoning)
    assert SEAL.open(reasoning.signature) == {"kind": "reasoning"}
    assert refusal == Refusal("No.")
