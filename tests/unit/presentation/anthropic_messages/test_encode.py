import json
from collections.abc import Iterable
from typing import Any

import pytest

from appliance.domain.conversation.estimate import estimate_input_tokens
from appliance.domain.conversation.message import plain
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall, Unknown
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.anthropic_messages.encode import MessagesEncoder, encoder
from appliance.presentation.errors import ErrorView
from tests.fakes.messages_stream import accumulate, events

REQUEST = ChatRequest("m", (plain("user", "What is the answer?" * 10),), True)
HITS = (Hit("guide.md", 3, 0.912345), Hit("b/ü.md", 0, 0.5))
SOURCES = [
    {"document": "guide.md", "chunk": 3, "score": 0.9123},
    {"document": "b/ü.md", "chunk": 0, "score": 0.5},
]
COUNTED = Usage(100, 7, {"prompt_tokens": 100}, cache_read_tokens=60, cache_write_tokens=10)
COUNTS = {
    "input_tokens": 30,
    "cache_creation_input_tokens": 10,
    "cache_read_input_tokens": 60,
    "output_tokens": 7,
}


def encoding(model: str = "m") -> MessagesEncoder:
    return encoder(ChatRequest(model, REQUEST.messages, True), "trace", 1700)


def sent(deltas: Iterable[Delta], sources: tuple[Hit, ...] | None = None) -> bytes:
    encode = encoding()
    return b"".join(encode.delta(delta) for delta in deltas) + encode.end(sources)


def said(*deltas: Delta) -> dict[str, Any]:
    return accumulate(sent(deltas))


def call(index: int, arguments: str = "", *, id: str = "", name: str = "") -> Delta:
    return Delta(tool_calls=[ToolCallDelta(index, id, name, arguments)])


def kinds(data: bytes) -> list[str]:
    return [event["type"].removeprefix("content_block_") for event in events(data)]


def block_of(name: str, given: Any, id: str = "a") -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def test_a_stream_in_full() -> None:
    data = sent(
        [Delta(text="Hel"), Delta(text='l"o\n'), Delta(finish_reason="stop", usage=COUNTED)]
    )
    estimate = estimate_input_tokens(REQUEST)
    start = {
        "id": "msg_trace",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": estimate,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    }
    piece = {"type": "content_block_delta", "index": 0}
    assert events(data) == [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {**piece, "delta": {"type": "text_delta", "text": "Hel"}},
        {**piece, "delta": {"type": "text_delta", "text": 'l"o\n'}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": COUNTS,
        },
        {"type": "message_stop"},
    ]
    assert b"[DONE]" not in data


def test_litellm_38153_and_32357_one_message_start_and_deltas_fit_their_blocks() -> None:
    answer = said(
        Delta(reasoning="hm"),
        Delta(text="a"),
        Delta(reasoning="mm"),
        Delta(signature="S"),
        call(0, "{}", id="a", name="f"),
        Delta(text="b"),
        Delta(finish_reason="tool_calls"),
    )
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "mm", "signature": "S"},
        block_of("f", {}),
        {"type": "text", "text": "b"},
    ]


def test_litellm_34692_no_empty_text_before_a_call_and_the_call_is_the_reason() -> None:
    data = sent(
        [
            Delta(model="m"),
            Delta(text=""),
            call(0, id="a", name="f"),
            call(0, '{"x":'),
            call(0, "1}"),
            Delta(finish_reason="stop"),
        ]
    )
    answer = accumulate(data)
    assert (answer["content"], answer["stop_reason"]) == ([block_of("f", {"x": 1})], "tool_use")
    start = events(data)[1]
    assert start["content_block"] == block_of("f", {}), "arguments in the start are ignored"


def test_litellm_31069_the_real_counts_come_last_and_replace_the_estimate() -> None:
    encode = encoding()
    data = encode.delta(Delta(text="a")) + encode.delta(Delta(finish_reason="stop"))
    data += encode.delta(Delta(usage=COUNTED)) + encode.end(None)
    assert accumulate(data)["usage"] == COUNTS


def test_litellm_24176_the_cache_counts_are_there_even_when_nobody_counted() -> None:
    for event in events(sent([Delta(text="a" * 9), Delta(finish_reason="stop")])):
        usage = event.get("usage") or event.get("message", {}).get("usage")
        if usage:
            assert (usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]) == (
                0,
                0,
            )


def test_counts_nobody_made_are_estimates() -> None:
    usage = said(Delta(text="a" * 9), Delta(finish_reason="stop"))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (estimate_input_tokens(REQUEST), 3)
    usage = said(Delta(text="a" * 9), Delta(finish_reason="stop", usage=Usage(5)))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (5, 3)


def test_an_explicit_zero_stays_zero_and_no_count_is_negative() -> None:
    usage = Usage(10, 0, cache_read_tokens=64, reasoning_tokens=0)
    assert said(Delta(text="a"), Delta(finish_reason="stop", usage=usage))["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 64,
        "output_tokens": 0,
        "output_tokens_details": {"thinking_tokens": 0},
    }


@pytest.mark.parametrize(
    ("finish", "matched", "reason"),
    [
        ("stop", None, "end_turn"),
        ("stop", "END", "stop_sequence"),
        ("length", None, "max_tokens"),
        ("content_filter", None, "refusal"),
        ("tool_calls", None, "end_turn"),  # of a call that never came
        ("of 2099", None, "end_turn"),
    ],
)
def test_the_reason_to_stop(finish: str, matched: str | None, reason: str) -> None:
    answer = said(Delta(text="a"), Delta(finish_reason=finish, stop_sequence=matched))
    assert (answer["stop_reason"], answer["stop_sequence"]) == (reason, matched)
    whole = once(Choice(0, (Text("a"),), finish, matched))
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, matched)


def test_a_call_cut_by_the_limit_says_so() -> None:
    answer = said(call(0, '{"a": "unfin', id="a", name="f"), Delta(finish_reason="length"))
    assert answer["stop_reason"] == "max_tokens"
    assert answer["content"][0]["input"] == '{"a": "unfin'


def test_the_text_of_a_finish_comes_before_it() -> None:
    assert said(Delta(text="a", finish_reason="length"))["content"] == [
        {"type": "text", "text": "a"}
    ]


def test_parallel_calls_with_mixed_steps_do_not_interleave() -> None:
    answer = said(
        call(0, '{"a"', id="a", name="f"),
        call(1, '{"b"', id="b", name="g"),
        Delta(text="and"),
        call(0, ":1"),
        call(1, ":2}"),
        call(0, "}"),
        Delta(finish_reason="tool_calls"),
    )
    assert answer["content"] == [
        block_of("f", {"a": 1}),
        block_of("g", {"b": 2}, "b"),
        {"type": "text", "text": "and"},
    ]


def test_a_later_call_streams_as_soon_as_the_one_before_is_whole() -> None:
    encode = encoding()
    encode.delta(call(0, '{"a": "}', id="a", name="f"))
    assert encode.delta(call(1, '{"b":', id="b", name="g")) == b"", (
        "a brace in a string ends nothing"
    )
    assert kinds(encode.delta(call(0, '"}'))) == ["delta", "stop", "start", "delta"]
    assert kinds(encode.delta(call(1, "2}"))) == ["delta"]
    assert kinds(encode.delta(call(2, "{}", id="c", name="h"))) == ["stop", "start", "delta"]
    assert encode.delta(call(0, "\n")) == b""


def test_calls_that_never_become_whole_all_come_at_the_end() -> None:
    answer = said(
        call(0, '{"a', id="a", name="f"),
        call(1, '{"b', id="b", name="g"),
        call(2, "", id="c", name="h"),
        Delta(finish_reason="length"),
    )
    assert [block["input"] for block in answer["content"]] == ['{"a', '{"b', {}]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    data = sent([call(0, id="a", name="f"), Delta(finish_reason="tool_calls")])
    assert accumulate(data)["content"] == [block_of("f", {})]
    assert kinds(data).count("delta") == 1


@pytest.mark.parametrize("signature", ["c2ln", 'A/+==\n"ü\\', "ag1.x.y"])
def test_cliproxyapi_420_and_1078_a_signature_goes_out_byte_for_byte_and_once(
    signature: str,
) -> None:
    deltas = [Delta(reasoning="hm"), Delta(reasoning="mm"), Delta(signature=signature)]
    data = sent([*deltas, Delta(text="a"), Delta(finish_reason="stop")])
    thought = {"type": "thinking", "thinking": "hmmm", "signature": signature}
    assert accumulate(data)["content"][0] == thought
    assert data.count(b"signature_delta") == 1
    whole = once(Choice(0, (Reasoning("hmmm", signature), Text("a")), "stop"))
    assert whole["content"][0] == thought


def test_harness_sdk_2704_a_signature_without_text_is_a_block() -> None:
    deltas = [Delta(signature="S"), Delta(text="a"), Delta(finish_reason="stop")]
    assert said(*deltas)["content"][0] == {"type": "thinking", "thinking": "", "signature": "S"}
    whole = once(Choice(0, (Reasoning(signature="S"),), "stop"))
    assert whole["content"] == [{"type": "thinking", "thinking": "", "signature": "S"}]


def test_encrypted_reasoning_is_a_block_of_its_own() -> None:
    answer = said(
        Delta(redacted="opaque"),
        Delta(redacted="more"),
        Delta(text="a"),
        Delta(finish_reason="stop"),
    )
    assert answer["content"] == [
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "redacted_thinking", "data": "more"},
        {"type": "text", "text": "a"},
    ]


def test_litellm_25561_a_tool_id_is_the_backends_and_nothing_is_hidden_in_it() -> None:
    step = ToolCallDelta(0, "call_1", "f", "{}", {"thought_signature": "T"})
    answer = said(Delta(tool_calls=[step]), Delta(finish_reason="tool_calls"))
    assert answer["content"] == [block_of("f", {}, "call_1")]


def test_only_the_first_choice_is_sent() -> None:
    answer = said(
        Delta(text="a"),
        Delta(index=1, text="b"),
        Delta(index=1, finish_reason="length"),
        Delta(finish_reason="stop"),
    )
    assert (answer["content"], answer["stop_reason"]) == (
        [{"type": "text", "text": "a"}],
        "end_turn",
    )


def test_an_answer_with_nothing_in_it_is_still_a_message() -> None:
    assert said(Delta(finish_reason="stop"))["content"] == []
    assert said()["stop_reason"] == "end_turn"
    assert encoding().delta(Delta(model="x", usage=COUNTED)) == b""


def test_explicit_sources_come_once() -> None:
    data = sent([Delta(text="a"), Delta(finish_reason="stop")], HITS)
    assert accumulate(data)["x_sources"] == SOURCES
    assert data.count(b"x_sources") == 1
    answer = Answer((Choice(0, (Text("a"),), "stop"),))
    assert json.loads(encoding().once(answer, HITS))["x_sources"] == SOURCES
    assert accumulate(sent([Delta(text="a")], ()))["x_sources"] == []


@pytest.mark.parametrize(("asked", "named"), [("", "chosen"), ("auto", "chosen"), ("m", "m")])
def test_the_model_is_the_one_asked_for_or_the_one_chosen(asked: str, named: str) -> None:
    encode = encoding(asked)
    encode.named("chosen")
    assert events(encode.delta(Delta(text="a", model="/x.gguf")))[0]["message"]["model"] == named
    answer = Answer((Choice(),), model="/x.gguf")
    assert json.loads(encode.once(answer, None))["model"] == named


def test_an_error_is_an_event_with_anthropics_object() -> None:
    data = encoding().error(ErrorView(529, "busy", "x"))
    assert data.startswith(b"event: error\n")
    assert events(data) == [
        {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "busy"},
            "request_id": "trace",
        }
    ]
    encode = encoding()
    cut = encode.delta(Delta(text="a")) + encode.error(ErrorView(504, "late", "x"))
    assert accumulate(cut)["error"] == {"type": "timeout_error", "message": "late"}


def once(*choices: Choice, **answer: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encoding().once(Answer(choices, **answer), None))
    return body


def test_a_whole_answer() -> None:
    parts = (
        Reasoning("hm", "S"),
        Text(""),
        Text("a"),
        ToolCall("t", "f", '{"x":1}', source={"function": "of another dialect"}),
        ToolCall("u", "g", '{"cut'),
    )
    assert once(Choice(0, parts, "stop"), usage=COUNTED, model="x") == {
        "id": "msg_trace",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "a"},
            block_of("f", {"x": 1}, "t"),
            block_of("g", {}, "u"),
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": COUNTS,
    }


def test_a_whole_answer_nobody_counted_has_estimates() -> None:
    usage = once(Choice(0, (Text("a" * 9),), "stop"))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (estimate_input_tokens(REQUEST), 3)


SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]}
CITED = {"type": "text", "text": "a", "citations": [{"cited_text": "c"}]}
NATIVE = {
    "id": "msg_theirs",
    "type": "message",
    "role": "assistant",
    "model": "theirs",
    "content": [SEARCHED, CITED],
    "stop_reason": "pause_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 30, "output_tokens": 7, "server_tool_use": {"n": 1}},
    "container": {"id": "c"},
}


def test_a_native_answer_keeps_what_we_have_no_word_for() -> None:
    usage = Usage(100, 7, NATIVE["usage"], cache_read_tokens=60, cache_write_tokens=10)
    body = once(Choice(0, (Text("a"),), "stop"), source=NATIVE, usage=usage)
    assert body == {
        **NATIVE,
        "id": "msg_trace",
        "model": "m",
        "usage": {**COUNTS, "server_tool_use": {"n": 1}},
    }


def test_an_altered_native_answer_is_made_of_its_parts() -> None:
    parts = (Unknown("web_search_tool_result", SEARCHED), Text("a", CITED), Text("new"))
    body = once(Choice(0, parts, "stop"), source=NATIVE, altered=True)
    assert body["content"] == [SEARCHED, CITED, {"type": "text", "text": "new"}]
    assert body["container"] == {"id": "c"}


def test_a_raw_answer_is_sent_as_it_came() -> None:
    raw = json.dumps(NATIVE, indent=1).encode()
    answer = Answer((Choice(0, (Text("a"),), "stop"),), raw=raw)
    assert encoding().once(answer, None) == raw
    body = json.loads(encoding().once(answer, HITS))
    assert (body["x_sources"], body["content"]) == (SOURCES, NATIVE["content"])


def test_raw_frames_are_sent_as_they_came() -> None:
    encode = encoding()
    frames = [
        b'event: message_start\ndata: {"type": "message_start"}\n\n',
        b'event: content_block_delta\r\ndata: {"text":"message_stop"}\r\n\r\n',
        b'event: message_stop\ndata: {"type": "message_stop"}\n\n',
    ]
    assert [encode.delta(Delta(text="a", usage=COUNTED, raw=raw)) for raw in frames] == frames
    assert encode.end(HITS) == b""


def test_a_raw_stream_whose_last_frame_did_not_come_gets_it() -> None:
    encode = encoding()
    encode.delta(Delta(raw=b'event: message_delta\ndata: {"text":"message_stop"}\n\n'))
    assert kinds(encode.end(None)) == ["message_stop"]


@pytest.mark.parametrize("finish", ["stop", "content_filter"])
def test_a_refusal_is_a_text_and_the_reason(finish: str) -> None:
    told = said(Delta(refusal="I "), Delta(refusal="cannot."), Delta(finish_reason=finish))
    whole = once(Choice(0, (Refusal("I cannot."),), finish))
    for message in (told, whole):
        assert message["content"] == [{"type": "text", "text": "I cannot."}]
        assert (message["stop_reason"], message["stop_sequence"]) == ("refusal", None)
