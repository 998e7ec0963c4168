"""Lines of an answer: made from neutral steps, handed on from a backend of this wire, in pieces."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.message import plain
from appliance.domain.conversation.parts import Refusal, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.errors import ErrorView
from appliance.presentation.ollama.encode import OllamaEncoder, encoder
from tests.unit.presentation.ollama.clocks import instants

HIT = Hit("a.md", 2, 0.51234)
HEAD = {"model": "up", "created_at": "2026-01-01T00:00:00Z"}


def made(dialect: str = "ollama", model: str = "m") -> OllamaEncoder:
    request = ChatRequest(model, (plain("user", "hi"),), True, dialect=dialect)
    return OllamaEncoder(request, instants())


def lines(encode: OllamaEncoder, *deltas: Delta, sources: Any = None) -> list[dict[str, Any]]:
    sent = b"".join(map(encode.delta, deltas)) + encode.end(sources)
    assert sent.endswith(b"\n")
    return [json.loads(line) for line in sent.splitlines()]


def step(content: str = "", *, done: bool = False, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {**HEAD, "message": message, "done": done, **fields}


def test_a_call_in_pieces_goes_out_whole_and_its_arguments_as_an_object() -> None:
    told = lines(
        made(),
        Delta(tool_calls=[ToolCallDelta(0, "c1", "zoom", "")]),
        Delta(tool_calls=[ToolCallDelta(0, arguments='{"by"')]),
        Delta(tool_calls=[ToolCallDelta(0, arguments=": 2}")]),
        Delta(finish_reason="tool_calls"),
    )
    (call,) = told[0]["message"]["tool_calls"]
    assert call == {"id": "c1", "function": {"index": 0, "name": "zoom", "arguments": {"by": 2}}}
    assert [line["done"] for line in told] == [False, True]
    assert told[1]["done_reason"] == "stop"
    assert "tool_calls" not in told[1]["message"]


def test_parallel_calls_in_mixed_pieces_keep_their_order() -> None:
    told = lines(
        made(),
        Delta(tool_calls=[ToolCallDelta(0, "a", "one", "{")]),
        Delta(tool_calls=[ToolCallDelta(1, "b", "two", "{}")]),
        Delta(tool_calls=[ToolCallDelta(0, arguments="}")]),
        Delta(tool_calls=[ToolCallDelta(2, "c", "three", "{}")]),
        Delta(finish_reason="tool_calls"),
    )
    calls = [call for line in told for call in line["message"].get("tool_calls", ())]
    assert [(c["id"], c["function"]["index"]) for c in calls] == [("a", 0), ("b", 1), ("c", 2)]


def test_arguments_that_were_cut_are_an_empty_object() -> None:
    told = lines(
        made(),
        Delta(tool_calls=[ToolCallDelta(0, "c", "zoom", '{"by":')]),
        Delta(finish_reason="length"),
    )
    assert told[0]["message"]["tool_calls"][0]["function"]["arguments"] == {}
    assert told[1]["done_reason"] == "length"


def test_what_nobody_counted_is_left_out() -> None:
    (last,) = lines(made(), Delta(finish_reason="stop"))[-1:]
    assert last.keys() >= {"total_duration", "prompt_eval_duration", "eval_duration"}
    assert last.keys().isdisjoint({"prompt_eval_count", "eval_count", "load_duration"})
    (last,) = lines(made(), Delta(finish_reason="stop", usage=Usage(0, 0)))[-1:]
    assert (last["prompt_eval_count"], last["eval_count"]) == (0, 0)


def test_the_model_is_named_as_asked_and_by_routing_where_nobody_asked() -> None:
    asked, unasked = made(model="m:latest"), made(model="")
    for encode in (asked, unasked):
        encode.named("routed")
    assert lines(asked, Delta(text="x"))[0]["model"] == "m:latest"
    assert lines(unasked, Delta(text="x"))[0]["model"] == "routed"


def test_lines_of_this_dialect_keep_what_we_have_no_word_for() -> None:
    source, last = step("Hi", logprobs=[1]), step(done=True, done_reason="stop", total_duration=7)
    told = lines(
        made(),
        Delta(text="Hi", source=source),
        Delta(finish_reason="stop", source=last, usage=Usage(1, 2)),
    )
    assert told == [
        {**HEAD, "model": "m", "message": source["message"], "done": False, "logprobs": [1]},
        {**last, "model": "m", "done": True},
    ]


def test_a_changed_line_says_what_was_made_of_it_and_the_rest_once() -> None:
    source = step("<think>a</think>b", logprobs=[1])
    told = lines(
        made(),
        Delta(reasoning="a", source=source, altered=True),
        Delta(text="b", source=source, altered=True),
    )
    assert told[0]["message"] == {"role": "assistant", "content": "", "thinking": "a"}
    assert told[1]["message"] == {"role": "assistant", "content": "b"}
    assert [("logprobs" in line) for line in told] == [True, False, False]


def test_calls_of_this_dialect_keep_their_own_fields() -> None:
    sent = {"function": {"name": "a", "arguments": {"x": 1}, "odd": 1}, "kind": "k"}
    source = step()
    source["message"]["tool_calls"] = [sent]
    call = ToolCallDelta(0, "id", "a", '{"x":1}')
    told = lines(made(), Delta(tool_calls=[call], source=source))
    (out,) = told[0]["message"]["tool_calls"]
    function = {"name": "a", "arguments": {"x": 1}, "odd": 1, "index": 0}
    assert out == {"id": "id", "kind": "k", "function": function}


def test_text_in_the_last_line_of_a_backend_comes_before_ours() -> None:
    last = step("end", done=True, done_reason="stop")
    told = lines(made(), Delta(text="end", finish_reason="stop", source=last))
    assert [line["message"]["content"] for line in told] == ["end", ""]
    assert [line["done"] for line in told] == [False, True]


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_a_backends_own_reason_passes(reason: str) -> None:
    last = step(done=True, done_reason=reason)
    (told,) = lines(made(), Delta(finish_reason="stop", source=last))
    assert told["done_reason"] == reason


def test_raw_lines_pass_byte_for_byte() -> None:
    first, last = b'{"a": 1,  "message":{}}', b'{"message":{}, "done": true}'
    encode = made()
    sent = encode.delta(Delta(text="x", source={}, raw=first))
    sent += encode.delta(Delta(source={}))  # a second step of one line
    sent += encode.delta(Delta(finish_reason="stop", source={}, raw=last)) + encode.end(None)
    assert sent == first + b"\n" + last + b"\n"


def test_sources_are_in_the_last_line_of_a_raw_stream_too() -> None:
    encode = made()
    raw = b'{"message":{"content":"x"},"done":true}'
    (told,) = lines(encode, Delta(finish_reason="stop", source={}, raw=raw), sources=(HIT,))
    assert told["done"] is True
    assert told["x_sources"] == [{"document": "a.md", "chunk": 2, "score": 0.5123}]


def test_sources_are_in_the_last_line_and_in_the_body() -> None:
    *others, last = lines(made(), Delta(text="x"), sources=(HIT,))
    assert last["x_sources"]
    assert not any("x_sources" in line for line in others)
    body = json.loads(made().once(Answer((Choice(parts=(Text("x"),)),)), ()))
    assert body["x_sources"] == []


def test_a_whole_answer_of_this_dialect_keeps_its_own_fields() -> None:
    source = step("Hi", done=True, done_reason="stop", odd=1, eval_count=3, total_duration=9)
    answer = Answer((Choice(parts=(Text("Hi"),), finish_reason="stop"),), source=source)
    assert json.loads(made().once(answer, None)) == {**source, "model": "m"}
    assert made().once(Answer((Choice(),), raw=b"{ }"), None) == b"{ }"


def test_generate_says_its_text_in_response() -> None:
    told = lines(made("ollama_generate"), Delta(text='a"b'), Delta(reasoning="t"))
    assert [line["response"] for line in told] == ['a"b', "", ""]
    assert told[1]["thinking"] == "t"
    assert not any("message" in line for line in told)


def test_other_choices_are_not_sent() -> None:
    assert made().delta(Delta(1, "x")) == b""


def test_an_error_in_a_stream_is_a_line() -> None:
    assert made().error(ErrorView(502, "it fell over", "api_error")) == (
        b'{"error":"it fell over"}\n'
    )


WORDS = st.text(min_size=1, max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    steps: list[Delta] = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["text", "thought", "call"])))):
        word = draw(WORDS)
        if kind == "text":
            steps.append(Delta(text=word))
        elif kind == "thought":
            steps.append(Delta(reasoning=word))
        else:
            text = json.dumps({"x": word})
            cut = draw(st.integers(0, len(text)))
            steps.append(Delta(tool_calls=[ToolCallDelta(number, f"id{number}", "f", text[:cut])]))
            steps.append(Delta(tool_calls=[ToolCallDelta(number, arguments=text[cut:])]))
    return [*steps, Delta(finish_reason=draw(st.sampled_from(["stop", "length", "tool_calls"])))]


@settings(deadline=None, max_examples=150)
@given(answers())
def test_streamed_and_once_are_the_same_conversation(deltas: list[Delta]) -> None:
    collector = Collector()
    collector.add(deltas)
    body = json.loads(made().once(Answer(collector.choices), None))["message"]
    told = [line["message"] for line in lines(made(), *deltas)]
    assert "".join(message["content"] for message in told) == body["content"]
    assert "".join(message.get("thinking", "") for message in told) == body.get("thinking", "")
    assert [_called(c) for m in told for c in m.get("tool_calls", ())] == [
        _called(c) for c in body.get("tool_calls", ())
    ]


def _called(call: dict[str, Any]) -> tuple[str, str, Any]:
    return call["id"], call["function"]["name"], call["function"]["arguments"]


def test_the_encoder_of_the_surface_tells_the_time() -> None:
    encode = encoder(ChatRequest("m", (), dialect="ollama"), "trace", 0)
    whole = Answer((Choice(parts=(ToolCall("i", "f"),), finish_reason="tool_calls"),))
    body = json.loads(encode.once(whole, None))
    assert body["total_duration"] >= 1
    assert body["created_at"].endswith("Z")


def test_a_refusal_is_text_here() -> None:
    first, last = lines(made(), Delta(refusal="No."), Delta(finish_reason="stop"))
    assert (first["message"]["content"], last["done_reason"]) == ("No.", "stop")
    whole = json.loads(made().once(Answer((Choice(0, (Refusal("No."),), "stop"),)), None))
    assert whole["message"]["content"] == "No."
