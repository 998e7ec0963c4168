import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from appliance.domain.conversation.stream import Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import (
    BackendBusy,
    BackendTimeout,
    ContextLengthExceeded,
    InvalidRequest,
)
from appliance.domain.events.exchange import Hit
from appliance.presentation.openai_responses import decode, deltas_of, encoder
from appliance.presentation.openai_responses.encode import ResponsesEncoder
from tests.unit.presentation.golden import collected
from tests.unit.presentation.openai_responses.test_sdk import EVENT, events, streaming

STOP = Delta(finish_reason="stop")


def writer(**fields: Any) -> ResponsesEncoder:
    request = decode(json.dumps({"model": "m", "input": "hi"} | fields).encode(), {})
    return encoder(request, request.continued(()), "resp_t", 1, lambda: 2.0)


def resource(write: ResponsesEncoder) -> Any:
    return json.loads(write.resource())


def test_the_terminal_frame_keeps_its_number_when_the_response_turns_out_not_to_be_stored() -> None:
    write = writer()
    write.opening()
    write.delta(STOP)
    (first,) = events(write.terminal())
    write.store = False
    (again,) = events(write.terminal())
    assert first["sequence_number"] == again["sequence_number"] == write.count - 1
    assert (first["response"]["store"], again["response"]["store"]) == (True, False)
    assert resource(write) == again["response"]


def test_what_comes_after_the_end_is_as_whole_as_what_came_before() -> None:
    write = writer()
    for delta in (Delta(text="done"), STOP, Delta(text=" and more")):
        write.delta(delta)
    write.close(whole=True)
    write.terminal()
    body = resource(write)
    assert (body["status"], [item["status"] for item in body["output"]]) == (
        "completed",
        ["completed", "completed"],
    )


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_was_cut_or_broken_off_has_no_whole_item(whole: bool) -> None:
    write = writer()
    write.delta(Delta(text="The weather"))
    if whole:
        write.delta(Delta(finish_reason="length"))
        write.delta(Delta(text=" is"))
    write.close(whole=whole)
    write.terminal(None if whole else BackendTimeout("too late", backend="a"))
    assert {item["status"] for item in resource(write)["output"]} == {"incomplete"}


def test_a_client_that_named_no_model_is_told_who_answers() -> None:
    write = writer(model="auto")
    write.named("qwen")
    assert resource(write)["model"] == "qwen"
    named = writer(model="m")
    named.named("qwen")
    assert resource(named)["model"] == "m"


def test_a_live_resource_shows_what_has_been_said_so_far() -> None:
    write = writer()
    write.delta(Delta(text="so "))
    write.delta(Delta(text="far"))
    body = resource(write)
    assert (body["status"], body["usage"], body["completed_at"]) == ("in_progress", None, None)
    (message,) = body["output"]
    assert (message["status"], message["content"][0]["text"]) == ("in_progress", "so far")


def test_a_message_before_a_call_is_commentary() -> None:
    write = writer()
    write.delta(Delta(text="let me look"))
    write.delta(Delta(tool_calls=[ToolCallDelta(0, "a", "f", "{}")]))
    write.delta(Delta(text="done"))
    write.delta(STOP)
    phases = [item.get("phase") for item in resource(write)["output"]]
    assert phases == ["commentary", None, "final_answer"]


def test_sealed_reasoning_is_given_to_who_asks_and_to_who_can_continue() -> None:
    def sealed(**fields: Any) -> list[str | None]:
        write = writer(**fields)
        for delta in (Delta(reasoning="r"), Delta(signature="sig"), Delta(redacted="x"), STOP):
            write.delta(delta)
        output = resource(write)["output"]
        return [i.get("encrypted_content") for i in output if i["type"] == "reasoning"]

    assert sealed(store=False) == [None]
    assert sealed(store=False, include=["reasoning.encrypted_content"]) == ["sig", "redacted.x"]
    assert sealed() == ["sig", "redacted.x"]


def test_what_reasoning_was_sealed_as_comes_back_with_its_text() -> None:
    write = writer(reasoning={"summary": "auto"})
    steps = (
        Delta(reasoning="a "),
        Delta(reasoning="b"),
        Delta(signature="sig"),
        Delta(redacted="x"),
        Delta(tool_calls=[ToolCallDelta(0, "a", "f", '{"x":1}')]),
        Delta(finish_reason="tool_calls"),
    )
    for delta in steps:
        write.delta(delta)
    request = decode(json.dumps({"input": resource(write)["output"]}).encode(), {})
    (message,) = request.continued(()).messages
    said = [(getattr(p, "text", ""), getattr(p, "signature", "")) for p in message.parts]
    assert said == [("a b", "sig"), ("", ""), ("", "")]
    assert [getattr(part, "redacted", "") for part in message.parts] == ["", "x", ""]


def test_a_custom_tools_input_is_what_the_model_wrote_where_it_is_no_such_argument() -> None:
    tools = [{"type": "custom", "name": "patch"}]
    for arguments, told in (
        ('{"input":"a\\nb"}', "a\nb"),
        ("{}", ""),
        ('{"patch":"x"}', '{"patch":"x"}'),
        ("*** Begin", "*** Begin"),
    ):
        write = writer(tools=tools)
        write.delta(Delta(tool_calls=[ToolCallDelta(0, "a", "patch", arguments)]))
        write.delta(Delta(finish_reason="tool_calls"))
        (call,) = resource(write)["output"]
        assert (call["type"], call["input"]) == ("custom_tool_call", told)


def test_a_call_without_arguments_has_an_empty_object() -> None:
    write = writer()
    frames = write.delta(Delta(tool_calls=[ToolCallDelta(0, "a", "f")]))
    frames += write.delta(Delta(finish_reason="tool_calls"))
    deltas = [e["delta"] for e in events(frames) if e["type"].endswith("arguments.delta")]
    assert deltas == ["{}"]
    assert resource(write)["output"][0]["arguments"] == "{}"


def test_an_answer_has_one_choice() -> None:
    write = writer()
    assert write.delta(Delta(index=1, text="other", usage=Usage(1, 2))) == b""
    write.delta(Delta(text="mine", finish_reason="stop"))
    write.terminal()
    body = resource(write)
    assert [item["content"][0]["text"] for item in body["output"]] == ["mine"]
    assert body["usage"]["total_tokens"] == 3


def test_usage_that_nobody_counted_is_null() -> None:
    write = writer()
    write.delta(Delta(text="a", finish_reason="stop", usage=Usage(None, 3)))
    write.terminal()
    assert resource(write)["usage"] is None


def test_sources_go_with_the_resource() -> None:
    write = writer()
    write.sources = (Hit("a.md", 0, 0.5),)
    assert resource(write)["x_sources"] == [{"document": "a.md", "chunk": 0, "score": 0.5}]


def test_a_failed_response_says_why_in_openais_codes() -> None:
    told = []
    for error in (
        BackendBusy("full", backend="a", retry_after_s=1.2),
        BackendTimeout("slow", backend="a"),
        ContextLengthExceeded("long"),
        InvalidRequest("what?"),
        RuntimeError("inside"),
    ):
        write = writer()
        (event,) = events(write.terminal(error))
        assert (event["type"], write.status) == ("response.failed", "failed")
        told.append((event["response"]["error"]["code"], event["response"]["error"]["message"]))
    assert told == [
        ("rate_limit_exceeded", "full. Please try again in 2s."),
        ("server_error", "slow"),
        ("context_length_exceeded", "long"),
        ("invalid_prompt", "what?"),
        ("server_error", "The gateway failed on this request; its log has the cause."),
    ]


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """The parsed steps of an answer: thoughts, texts and calls in any order, calls interleaved."""
    steps: list[Delta] = []
    waiting: list[tuple[int, str]] = []
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "thought", "seal", "call", "step"]))):
        if kind == "text":
            steps += [Delta(text=text) for text in draw(st.lists(WORDS, min_size=1))]
        elif kind == "thought":
            steps += [Delta(reasoning=text) for text in draw(st.lists(WORDS, min_size=1))]
        elif kind == "seal":
            steps.append(Delta(signature=draw(WORDS)))
        elif kind == "call":
            name = draw(st.sampled_from(["f", "patch"]))
            steps.append(Delta(tool_calls=[ToolCallDelta(calls, f"call_{calls}", name)]))
            waiting += [(calls, "{"), (calls, '"input":"x"'), (calls, "}")]
            calls += 1
        elif waiting:
            index, text = waiting.pop(0)
            steps.append(Delta(tool_calls=[ToolCallDelta(index, arguments=text)]))
    steps += [Delta(tool_calls=[ToolCallDelta(n, arguments=text)]) for n, text in waiting]
    reason = draw(st.sampled_from(["stop", "tool_calls", "length", "content_filter"]))
    return [*steps, Delta(finish_reason=reason)]


def written(deltas: list[Delta]) -> tuple[bytes, ResponsesEncoder]:
    write = writer(tools=[{"type": "custom", "name": "patch"}], store=True)
    frames = write.opening() + b"".join(map(write.delta, deltas)) + write.close(whole=True)
    return frames + write.terminal(), write


@settings(max_examples=80, deadline=None)
@given(answers())
def test_any_answer_is_a_stream_the_sdk_reads_to_its_resource(deltas: list[Delta]) -> None:
    frames, write = written(deltas)
    told = list(events(frames))
    assert [event["sequence_number"] for event in told] == list(range(write.count))
    for event in told:
        EVENT.validate_python(event)
    body = resource(write)
    Response.model_validate(body)
    with streaming(frames).responses.stream(model="m", input="hi") as stream:
        stream.until_done()
    done = stream._state._completed_output
    assert [done[n].to_dict() for n in sorted(done)] == body["output"]


@settings(max_examples=80, deadline=None)
@given(answers())
def test_any_answer_is_the_same_resource_once(deltas: list[Delta]) -> None:
    _, streamed = written(deltas)
    _, once = written(list(deltas_of(collected(deltas))))
    assert resource(once) == resource(streamed)


@settings(max_examples=80, deadline=None)
@given(answers())
def test_any_split_of_the_same_text_is_the_same_resource(deltas: list[Delta]) -> None:
    pieces: list[Delta] = []
    for delta in deltas:
        pieces += [Delta(text=char) for char in delta.text]
        pieces += [Delta(reasoning=char) for char in delta.reasoning]
        if not (delta.text or delta.reasoning):
            pieces.append(delta)
    assert resource(written(pieces)[1]) == resource(written(deltas)[1])


def test_text_before_a_refusal_is_a_message_of_its_own() -> None:
    write = writer()
    for delta in (Delta(text="Well."), Delta(refusal="No."), STOP):
        write.delta(delta)
    text, refusal = resource(write)["output"]
    assert (text["phase"], text["content"][0]["text"]) == ("commentary", "Well.")
    assert refusal["phase"] == "final_answer"
    assert refusal["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_refusal_that_was_cut_shows_what_was_said_of_it() -> None:
    write = writer()
    write.delta(Delta(refusal="I can"))
    assert resource(write)["output"][0]["status"] == "in_progress"
    write.delta(Delta(finish_reason="length"))
    write.terminal()
    (item,) = resource(write)["output"]
    assert (item["status"], item["content"][0]["refusal"]) == ("incomplete", "I can")
