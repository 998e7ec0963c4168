"""What is read of answers and events of OpenAI-like servers, the odd ones of real servers too."""

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.stream import Answer, Choice, Delta
from appliance.domain.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefused,
    ContextLengthExceeded,
)
from appliance.infra.dialects.openai_chat.answer import AnswerReader
from appliance.infra.http.sse import SseDecoder

SIGNATURE = {"google": {"thought_signature": "c2ln"}}


def event(*choices: Any, **fields: Any) -> bytes:
    whole = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": list(choices)}
    return json.dumps(whole | fields).encode()


def step(index: Any = 0, finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def read(data: bytes, **fields: Any) -> list[Delta]:
    return list(AnswerReader("local", **{"own": True} | fields).deltas(data))


def answer(body: Any, **fields: Any) -> Answer:
    return AnswerReader("local", **{"own": True} | fields).answer(json.dumps(body).encode())


def whole(message: Any, finish: Any = "stop", **fields: Any) -> Choice:
    choice = {"index": 0, "message": message, "finish_reason": finish} | fields
    return answer({"choices": [choice]}).first


def calls(delta: Delta) -> list[tuple[int, str, str, str]]:
    return [(c.index, c.id, c.name, c.arguments) for c in delta.tool_calls]


# -- text, reasoning, and both at once


def test_a_text_step_is_read_with_everything_it_came_with() -> None:
    sent = event(step(content="a"), timings={"n": 1})
    (delta,) = read(sent)
    assert (delta.index, delta.text, delta.model, delta.finish_reason) == (0, "a", "m", None)
    assert delta.source == json.loads(sent)
    assert (delta.raw, delta.altered, delta.usage) == (b"", False, None)


def test_source_goes_along_only_in_the_dialect_itself() -> None:
    for sent in (event(step(content="a")), event(step(0, content="a"), step(1, content="b"))):
        assert all(delta.source is None for delta in read(sent, own=False))


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_under_either_name(name: str) -> None:
    (delta,) = read(event(step(**{name: "hm", "content": None})))
    assert (delta.reasoning, delta.text) == ("hm", "")
    assert whole({"content": "a", name: "hm"}).parts == (Reasoning("hm"), Text("a"))


def test_vllm_27752_and_33402_reasoning_under_both_names_is_read_once() -> None:
    (delta,) = read(event(step(reasoning_content="hm", reasoning="hm")))
    assert delta.reasoning == "hm"
    assert whole({"reasoning_content": "hm", "reasoning": "hm"}).reasoning == "hm"


def test_nulls_beside_a_text_are_nothing() -> None:
    beside = dict.fromkeys(("reasoning_content", "reasoning", "refusal", "tool_calls", "audio"))
    (delta,) = read(event(step(content="a", **beside), usage=None, error=None))
    assert (delta.text, delta.reasoning, delta.tool_calls) == ("a", "", ())


def test_a_step_that_says_several_things_is_several_steps() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    said = step(0, "tool_calls", role="assistant", content="b", reasoning="a", tool_calls=[call])
    first, second, third = read(event(said, usage={"prompt_tokens": 7}, odd=1))
    assert (first.reasoning, first.text, first.tool_calls) == ("a", "", ())
    assert (second.reasoning, second.text, second.tool_calls) == ("", "b", ())
    assert calls(third) == [(0, "c1", "f", "{}")]
    assert [d.finish_reason for d in (first, second, third)] == [None, None, "tool_calls"]
    assert [d.usage is None for d in (first, second, third)] == [True, True, False]
    sources = [d.source or {} for d in (first, second, third)]
    assert [s["choices"][0]["delta"] for s in sources] == [
        {"role": "assistant", "reasoning": "a"}, {"content": "b"}, {"tool_calls": [call]}
    ]  # fmt: skip
    assert [s["odd"] for s in sources] == [1, 1, 1]
    assert [s["usage"] for s in sources] == [None, None, {"prompt_tokens": 7}]


def test_mistrals_list_of_parts_is_text_and_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"text": "m"}]}
    content = [thinking, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 5]
    first, second = read(event(step(content=content)))
    assert (first.reasoning, second.text) == ("hm", "ab")
    assert second.source is not None
    assert second.source["choices"][0]["delta"] == {"content": "ab"}
    found = answer({"choices": [{"message": {"content": content}}]})
    assert found.first.parts == (Reasoning("hm"), Text("ab"))
    assert found.source is not None
    assert found.source["choices"][0]["message"] == {"content": "ab", "reasoning_content": "hm"}
    (plain,) = read(event(step(content=[{"type": "text", "text": "a"}])))
    assert plain.text == "a"


def test_reasoning_details_bring_the_signature_and_text_no_other_field_has() -> None:
    signed = {"type": "reasoning.text", "text": "hm", "signature": "sig"}
    (delta,) = read(event(step(content="", reasoning="hm", reasoning_details=[signed])))
    assert (delta.reasoning, delta.signature) == ("hm", "sig")
    (delta,) = read(event(step(reasoning_details=[signed, 5, {"signature": 7}])))
    assert (delta.reasoning, delta.signature) == ("hm", "sig")
    first, second = read(event(step(content="a", reasoning_details=[signed | {"text": None}])))
    assert (first.signature, first.text, second.text) == ("sig", "", "a")
    assert whole({"content": "a", "reasoning_details": [signed]}).parts == (
        Reasoning("hm", "sig"), Text("a")
    )  # fmt: skip


def test_a_refusal_is_no_text() -> None:
    (delta,) = read(event(step(refusal="I cannot")))
    assert (delta.text, delta.refusal, delta.has_content) == ("", "I cannot", True)
    refused = whole({"content": None, "refusal": "I cannot"})
    assert (refused.text, refused.refusal) == ("", "I cannot")
    assert refused.parts == (Refusal("I cannot"),)


def test_text_and_a_refusal_in_one_step_are_two_steps() -> None:
    first, second = read(event(step(content="so", refusal="no", finish="stop")))
    assert (first.text, first.refusal, first.finish_reason) == ("so", "", None)
    assert (second.text, second.refusal, second.finish_reason) == ("", "no", "stop")


# -- log probabilities

TOP = {"token": "Ho", "logprob": -3}
HI = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [TOP]}
READ_HI = TokenLogprob("Hi", -0.5, b"Hi", (TokenLogprob("Ho", -3.0, b"Ho"),))


def likely(*rows: Any, **delta: Any) -> bytes:
    return event(step(**delta) | {"logprobs": {"content": list(rows)}})


def test_logprobs_are_read_for_who_asked_in_another_dialect() -> None:
    (asked,) = read(likely(HI, content="Hi"), own=False, logprobs=True)
    assert asked.logprobs == (READ_HI,)
    (unasked,) = read(likely(HI, content="Hi"), own=False)
    (own,) = read(likely(HI, content="Hi"), logprobs=True)
    assert (unasked.logprobs, own.logprobs) == ((), ())
    assert own.source is not None
    assert own.source["choices"][0]["logprobs"] == {"content": [HI]}


@pytest.mark.parametrize(
    "odd",
    [None, 5, {}, {"token": "a"}, {"token": 5, "logprob": -1}, {"token": "a", "logprob": "x"},
     {"token": "a", "logprob": -(10**400)}],
)  # fmt: skip
def test_a_logprob_that_is_none_is_left_out(odd: Any) -> None:
    (delta,) = read(likely(odd, HI, content="Hi"), own=False, logprobs=True)
    assert delta.logprobs == (READ_HI,)


@pytest.mark.parametrize("utf8", [None, "x", [300], [None], []])
def test_bytes_that_nobody_told_are_those_of_the_token(utf8: Any) -> None:
    row = {"token": "ø", "logprob": -1, "bytes": utf8}
    (delta,) = read(likely(row, content="ø"), own=False, logprobs=True)
    assert delta.logprobs[0].utf8 == "ø".encode()


def test_the_logprobs_of_a_whole_answer_are_those_of_its_text() -> None:
    rows = [{"token": token, "logprob": -1} for token in ("hm", "Hi", " you", "<eos>")]
    message = {"reasoning_content": "hm", "content": "Hi you"}
    choice = {"index": 0, "message": message, "logprobs": {"content": rows}}
    read_as = answer({"choices": [choice]}, own=False, logprobs=True).first
    assert [token.token for token in read_as.logprobs] == ["Hi", " you"]


def test_logprobs_of_a_step_that_says_several_things_go_out_once() -> None:
    thought, said = read(likely(HI, reasoning_content="hm", content="Hi"))
    assert thought.source is not None
    assert said.source is not None
    assert thought.source["choices"][0]["logprobs"] is None
    assert said.source["choices"][0]["logprobs"] == {"content": [HI]}


# -- tool calls


@pytest.mark.parametrize("empty", [[], None, 5, {}, [5, None]])
def test_litellm_29286_empty_tool_calls_are_absent(empty: Any) -> None:
    (delta,) = read(event(step(content="a", tool_calls=empty)))
    assert (delta.text, list(delta.tool_calls)) == ("a", [])
    (delta,) = read(event(step(content="", tool_calls=empty)))
    assert not delta.has_content
    assert whole({"content": "a", "tool_calls": empty}).parts == (Text("a"),)


def test_a_call_in_steps_is_handed_on_step_by_step() -> None:
    opening = {"index": 1, "id": "c1", "type": "function", "function": {"name": "f"}}
    (first,) = read(event(step(content=None, tool_calls=[opening])))
    (second,) = read(event(step(tool_calls=[{"index": 1, "function": {"arguments": '{"a'}}])))
    assert calls(first) == [(1, "c1", "f", "")]
    assert calls(second) == [(1, "", "", '{"a')]


def test_a_call_without_index_or_id_says_so() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    (delta,) = read(event(step(tool_calls=[call, call | {"index": None, "id": 7}])))
    assert calls(delta) == [(-1, "", "f", "{}"), (-1, "", "f", "{}")]


def test_litellm_25321_arguments_only_in_the_terminal_event_are_read() -> None:
    call = {"index": 0, "function": {"arguments": '{"a":1}'}}
    (delta,) = read(event(step(0, "tool_calls", tool_calls=[call])))
    assert calls(delta) == [(0, "", "", '{"a":1}')]
    assert delta.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("given", "text"),
    [({"a": [1]}, '{"a":[1]}'), ({}, "{}"), ([], "[]"), (7, "7"), (None, ""), ("", "")],
)
def test_arguments_that_are_no_text_become_json_text(given: Any, text: str) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": given}}
    (delta,) = read(event(step(tool_calls=[call])))
    assert calls(delta) == [(0, "c1", "f", text)]
    (found,) = whole({"tool_calls": [call]}).tool_calls
    assert found == ToolCall("c1", "f", text or "{}")


def test_a_client_of_openais_sees_object_arguments_as_text_too() -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}
    (delta,) = read(event(step(tool_calls=[call])))
    assert delta.source is not None
    sent = delta.source["choices"][0]["delta"]["tool_calls"][0]
    assert sent["function"]["arguments"] == '{"a":1}'


@pytest.mark.parametrize("odd", [{}, {"function": None}, {"function": {"name": 5}}])
def test_a_call_of_another_shape_has_no_name(odd: Any) -> None:
    (delta,) = read(event(step(tool_calls=[odd])))
    assert calls(delta) == [(-1, "", "", "")]


def test_the_call_of_the_form_before_tools_is_one() -> None:
    (delta,) = read(event(step(0, "function_call", function_call={"name": "f", "arguments": "{"})))
    assert calls(delta) == [(0, "", "f", "{")]
    assert delta.finish_reason == "tool_calls"
    assert delta.source is not None
    assert delta.source["choices"][0]["finish_reason"] == "function_call"
    found = whole({"function_call": {"name": "f", "arguments": "{}"}}, "function_call")
    assert found.tool_calls == (ToolCall("", "f", "{}"),)
    assert found.finish_reason == "tool_calls"


def test_what_a_backend_wants_back_with_a_call_is_kept() -> None:
    call = {"id": "c1", "function": {"name": "f"}, "extra_content": SIGNATURE}
    (delta,) = read(event(step(tool_calls=[call])), own=False)
    assert delta.tool_calls[0].extra == {"extra_content": SIGNATURE}
    assert whole({"tool_calls": [call]}).tool_calls[0].extra == {"extra_content": SIGNATURE}
    (delta,) = read(event(step(tool_calls=[{"id": "c1"}])))
    assert delta.tool_calls[0].extra is None


def test_names_that_were_shortened_lead_back() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "short", "arguments": "{}"}}
    other = {"index": 1, "id": "c2", "function": {"name": "go", "arguments": "{}"}}
    names = {"short": "a.very/long one"}
    (delta,) = read(event(step(tool_calls=[call, other])), own=False, names=names)
    assert [c.name for c in delta.tool_calls] == ["a.very/long one", "go"]
    body = {"choices": [{"message": {"tool_calls": [call]}}]}
    assert answer(body, names=names).first.tool_calls[0].name == "a.very/long one"


# -- the end of a choice


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("STOP", "stop"),
        ("SAFETY", "content_filter"),
        ("tool_use", "tool_calls"),
        ("whatever", "stop"),
        ("", None),
        (None, None),
        (5, None),
        ({}, None),
    ],
)
def test_why_it_ended_is_one_of_our_words(sent: Any, meant: str | None) -> None:
    (delta,) = read(event(step(0, sent)))
    assert delta.finish_reason == meant
    assert whole({"content": "a"}, sent).finish_reason == meant
    assert delta.source is not None
    shown = delta.source["choices"][0]["finish_reason"]
    assert shown in ("stop", "length", "tool_calls", "content_filter", "function_call", None)


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_an_answer_its_backend_gave_up_on_is_an_error(reason: str) -> None:
    with pytest.raises(BackendProtocolError, match=reason):
        read(event(step(0, reason, content="half")))
    with pytest.raises(BackendProtocolError, match=reason):
        whole({"content": "half"}, reason)


@pytest.mark.parametrize(
    ("told", "known"), [("END", "END"), (None, None), (128009, None), ("", None)]
)
def test_vllms_stop_reason_is_the_stop_string_that_ended_it(told: Any, known: str | None) -> None:
    (delta,) = read(event(step(0, "stop") | {"stop_reason": told}))
    assert delta.stop_sequence == known
    assert whole({"content": "a"}, stop_reason=told).stop_sequence == known


# -- counts


def test_usage_with_its_details() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    (delta,) = read(event(usage=usage))
    found = delta.usage
    assert found is not None
    assert (found.input_tokens, found.output_tokens, found.source) == (100, 20, usage)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (60, 30)
    assert found.reasoning_tokens == 15
    assert not delta.has_content


def test_litellm_37994_and_llmr_10_a_count_nobody_gave_is_unknown_and_zero_is_zero() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0}
    odd: Any = {"prompt_tokens": "7", "completion_tokens": None, "prompt_tokens_details": []}
    for usage, counts in (
        (zero, (0, 0)),
        (odd, (None, None)),
        ({"prompt_tokens": -1}, (None,) * 2),
    ):
        (delta,) = read(event(usage=usage))
        assert delta.usage is not None
        assert (delta.usage.input_tokens, delta.usage.output_tokens) == counts
    nothing: list[Any] = [None, {}, [], 5, "7"]
    for absent in nothing:
        (delta,) = read(event(step(content="a"), usage=absent))
        assert delta.usage is None
    assert answer({"choices": [{"message": {}}]}).usage is None


def test_usage_beside_a_finish_reason_is_read() -> None:
    (delta,) = read(event(step(0, "stop"), usage={"prompt_tokens": 7}))
    assert delta.usage is not None
    assert (delta.finish_reason, delta.usage.input_tokens) == ("stop", 7)


# -- several choices


def test_several_choices_in_one_event_are_a_step_each() -> None:
    sent = event(step(1, content="b"), step(0, content="a"), usage={"prompt_tokens": 7}, odd=1)
    first, second = read(sent)
    assert [(d.index, d.text) for d in (first, second)] == [(1, "b"), (0, "a")]
    assert first.usage is None
    assert second.usage is not None
    assert first.source is not None
    assert second.source is not None
    assert first.source == json.loads(sent) | {"choices": [step(1, content="b")], "usage": None}
    assert second.source == json.loads(sent) | {"choices": [step(0, content="a")]}


def test_several_choices_of_a_once_answer_are_all_there() -> None:
    choices = [
        {"index": n, "message": {"content": text}, "finish_reason": "stop"}
        for n, text in enumerate("ab")
    ]
    found = answer({"choices": choices, "model": "m"})
    assert [(c.index, c.text) for c in found.choices] == [(0, "a"), (1, "b")]
    del choices[1]["index"]
    assert [c.index for c in answer({"choices": choices}).choices] == [0, 1]


# -- text completions


def test_a_text_completion_is_read_like_a_chat() -> None:
    row = {"text": "x = 1", "index": 1, "logprobs": None, "finish_reason": "length"}
    (delta,) = read(event(row))
    assert (delta.index, delta.text, delta.finish_reason) == (1, "x = 1", "length")
    assert delta.source is not None
    assert delta.source["choices"] == [row]
    found = answer({"choices": [row]})
    assert found.first == Choice(1, (Text("x = 1"),), "length")


# -- raw


def test_raw_goes_along_byte_for_byte_and_still_says_what_it_says() -> None:
    sent = b' {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":7}} '
    (delta,) = read(sent, raw=True)
    assert (delta.raw, delta.text) == (sent, "a")
    assert delta.usage is not None


def test_raw_never_hands_on_a_chunk_of_usage_alone() -> None:
    (delta,) = read(event(usage={"prompt_tokens": 7}), raw=True)
    assert delta.raw == b""
    assert delta.usage is not None


def test_raw_hands_an_event_of_several_steps_on_once_with_the_first() -> None:
    sent = event(step(0, content="a"), step(1, content="b", reasoning="c"))
    assert [d.raw for d in read(sent, raw=True)] == [sent, b"", b""]
    sent = event(step(0, content="", role="assistant"), step(1, content="b"))
    assert [(d.raw, d.text) for d in read(sent, raw=True)] == [(sent, ""), (b"", "b")]


def test_a_raw_once_answer_keeps_its_bytes() -> None:
    body = b' {"choices":[{"message":{"content":"a"}}]} '
    found = AnswerReader("local", own=True, raw=True).answer(body)
    assert (found.raw, found.first.text) == (body, "a")


# -- errors and nonsense


def error_of(data: bytes) -> Exception:
    with pytest.raises((BackendError, ContextLengthExceeded)) as error:
        read(data)
    return error.value


def test_an_error_in_band_is_raised_wherever_it_is() -> None:
    error = {"message": "fell over"}
    for data in (
        json.dumps({"error": error}).encode(),
        json.dumps([{"error": error}]).encode(),  # Gemini
        event(step(content="a"), error=error),
        event(step(0, "error", content="") | {"error": error}),  # OpenRouter
        event(step(0, content="") | {"error": error}),
        event({"error": error}),
        b'{"error":"fell over"}',
    ):
        found = error_of(data)
        assert isinstance(found, BackendProtocolError)
        assert "fell over" in str(found)
    with pytest.raises(BackendProtocolError, match="fell over"):
        answer({"choices": [{"index": 0, "error": error}]})
    with pytest.raises(BackendProtocolError, match="fell over"):
        answer([{"error": error}])


def test_an_error_in_band_with_a_status_of_its_own_has_that_status() -> None:
    found = error_of(b'{"error":{"message":"slow down","code":429,"type":"rate_limit_error"}}')
    assert isinstance(found, BackendRefused)
    assert (found.status, found.kind) == (429, "rate_limit_error")


@pytest.mark.parametrize("odd", [event(5), event(step(content="a"), 5), event(None), b"[]", b"5",
                                 b"null", b"{", b"\xff\xfe", b"[" * 9999])  # fmt: skip
def test_an_event_that_is_none_is_a_protocol_error(odd: bytes) -> None:
    assert isinstance(error_of(odd), BackendProtocolError)


@pytest.mark.parametrize("empty", [b"", b"  "])
def test_an_empty_event_keeps_the_line_open_and_says_nothing(empty: bytes) -> None:
    assert read(empty) == []


@pytest.mark.parametrize("odd", [None, {}, "a", 5, []])
def test_an_event_without_choices_says_nothing(odd: Any) -> None:
    (delta,) = read(json.dumps({"choices": odd, "odd": 1}).encode())
    assert not delta.has_content
    assert delta.source == {"choices": odd, "odd": 1}


@pytest.mark.parametrize(
    "odd", [None, "a", [], {"content": 5, "reasoning": 5, "tool_calls": 5, "refusal": []}]
)
def test_a_delta_of_another_shape_says_nothing(odd: Any) -> None:
    (delta,) = read(event({"index": "0", "delta": odd}, model=5, usage=[]))
    assert (delta.text, delta.reasoning, tuple(delta.tool_calls)) == ("", "", ())
    assert (delta.index, delta.model, delta.usage) == (0, "", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [5]},
        {"choices": [{}]},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": {"content": "a"}}, 5]},
        {"choices": [{"message": {"content": "a"}}, {"message": "b"}]},
        {"error": {"message": "fell over"}},
        [],
    ],
    ids=str,
)
def test_a_body_without_choices_is_a_protocol_error(body: Any) -> None:
    with pytest.raises(BackendProtocolError) as broken:
        answer(body)
    assert broken.value.backend == "local"


@pytest.mark.parametrize(
    "body", [{"content": None}, {"content": 5}, {"tool_calls": None}, {"tool_calls": [5]}], ids=str
)
def test_an_answer_with_odd_fields_is_still_one(body: Any) -> None:
    found = answer({"choices": [{"message": body}], "usage": 5, "model": None})
    assert (found.first.parts, found.usage, found.model) == ((), None, "")


# -- any bytes, any JSON, any split

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 600) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
KEYS = ("content", "reasoning", "reasoning_content", "reasoning_details", "refusal", "tool_calls",
        "function_call", "text", "signature", "thinking", "function", "arguments", "name", "id",
        "index", "extra_content")  # fmt: skip
SAID = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)
STEP = st.dictionaries(st.sampled_from(KEYS), SAID)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "delta": STEP | JSON,
        "message": STEP | JSON,
        "text": JSON,
        "finish_reason": JSON | st.sampled_from(["stop", "tool_calls", "error"]),
        "stop_reason": JSON,
        "error": JSON,
    },
)
EVENT = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE | JSON, max_size=3) | JSON},
    optional={"usage": SAID, "model": JSON, "error": JSON},
)


def is_sound(delta: Delta) -> bool:
    texts = (delta.text, delta.reasoning, delta.model, delta.signature)
    said = bool(delta.text), bool(delta.reasoning or delta.signature), bool(delta.tool_calls)
    return all(type(text) is str for text in texts) and type(delta.index) is int and sum(said) <= 1


@settings(max_examples=300, deadline=None)
@given(EVENT | JSON, st.booleans())
def test_any_json_in_an_event_is_deltas_or_an_error_of_the_tree(value: Any, own: bool) -> None:
    data = json.dumps(value).encode()
    with suppress(BackendError, ContextLengthExceeded):
        assert all(is_sound(delta) for delta in read(data, own=own, raw=own))
    with suppress(BackendError, ContextLengthExceeded):
        AnswerReader("local", own=own).answer(data)


@given(st.binary(max_size=40))
def test_any_bytes_in_an_event_are_deltas_or_an_error_of_the_tree(data: bytes) -> None:
    for method in (AnswerReader("local", own=True).deltas, AnswerReader("local", own=True).answer):
        with suppress(BackendError):
            method(data)


STREAM = b"".join(
    b"data: " + data + b"\n\n"
    for data in (
        event(step(role="assistant", content="")),
        event(step(reasoning_content="naïve")),
        event(step(content="h\u00e9", reasoning="!")),
        event(step(content="llo"), step(1, content="2nd")),
        event(step(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])),
        event(step(tool_calls=[{"index": 0, "function": {"arguments": '{"a":"é"}'}}])),
        event(step(0, "tool_calls"), step(1, "stop")),
        event(usage={"prompt_tokens": 7, "completion_tokens": 5}),
    )
)


def collected(pieces: list[bytes]) -> tuple[Any, ...]:
    decoder, reader, collector = SseDecoder(), AnswerReader("local", own=True), Collector()
    for piece in pieces:
        for data in decoder.feed(piece):
            collector.add(reader.deltas(data))
    return collector.choices, collector.usage, collector.model


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_split_of_the_bytes_is_the_same_conversation(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(edges)]
    found = collected(pieces)
    assert found == collected([STREAM])
    (first, second), usage, model = found
    assert first.parts == (
        Reasoning("naïve!"), Text("héllo"), ToolCall("c", "f", '{"a":"é"}')
    )  # fmt: skip
    assert (second.text, usage.output_tokens, model) == ("2nd", 5, "m")
