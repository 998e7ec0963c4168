import json
from dataclasses import replace
from typing import Any

import pytest

from appliance.domain.conversation.message import plain
from appliance.domain.conversation.parts import Part, Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.events.exchange import Hit
from appliance.presentation.errors import ErrorView
from appliance.presentation.openai_chat.encode import ChatEncoder, encoder

HITS = (Hit("guide.md", 3, 0.912345), Hit("b/ü.md", 0, 0.5))
SOURCES = [
    {"document": "guide.md", "chunk": 3, "score": 0.9123},
    {"document": "b/ü.md", "chunk": 0, "score": 0.5},
]
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "x": {"y": 1}}
COUNTED = Usage(7, 2, USAGE)
HEAD = {"id": "chatcmpl-trace", "created": 1700, "model": "m"}
LEGACY = {"functions": [{"name": "f"}]}


def encoding(
    *, include_usage: bool = False, model: str = "m", params: dict[str, Any] | None = None
) -> ChatEncoder:
    messages = (plain("user", "hi"),)
    request = ChatRequest(model, messages, True, include_usage, params=params or {})
    return encoder(request, "trace", 1700)


def choice(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def step(sent: dict[str, Any] | None = None, **chunk: Any) -> Delta:
    """A chunk as a backend of this dialect sent it, and as its client reads it."""
    said = (sent or {}).get("delta")
    said = said if isinstance(said, dict) else {}
    source = {"id": "theirs", "object": "x", "created": 1, "model": "/m.gguf", **chunk}
    return Delta(
        index=(sent or {}).get("index", 0),
        text=said.get("content") or "",
        reasoning=said.get("reasoning_content") or said.get("reasoning") or "",
        finish_reason=(sent or {}).get("finish_reason"),
        usage=COUNTED if chunk.get("usage") else None,
        source={**source, "choices": [] if sent is None else [sent]},
    )


def calling(*steps: ToolCallDelta, index: int = 0, source: Any = None) -> Delta:
    return Delta(index=index, tool_calls=steps, source=source)


def frames(data: bytes) -> list[Any]:
    """The payloads of whole frames; the frame format itself is asserted."""
    assert data.endswith(b"\n\n") or not data
    payloads = [part.removeprefix(b"data: ") for part in data.split(b"\n\n") if part]
    assert data == b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    return ["[DONE]" if p == b"[DONE]" else json.loads(p) for p in payloads]


def one(data: bytes) -> Any:
    (frame,) = frames(data)
    return frame


def only_choice(data: bytes) -> Any:
    (row,) = one(data)["choices"]
    return row


def test_a_stream_in_full() -> None:
    encode = encoding()
    sent = b"".join(
        encode.delta(delta)
        for delta in (
            step(choice(role="assistant", content="Hel")),
            step(choice(content="lo")),
            step(choice(finish="stop")),
            step(usage=USAGE),
        )
    )
    head = {**HEAD, "object": "chat.completion.chunk"}
    assert frames(sent + encode.end(None)) == [
        {**head, "choices": [choice(role="assistant", content="Hel")]},
        {**head, "choices": [choice(content="lo")]},
        {**head, "choices": [choice(finish="stop")]},
        "[DONE]",
    ]


# Usage


def test_ferro_labs_ai_gateway_281_no_usage_chunk_for_a_client_that_did_not_ask() -> None:
    encode = encoding()
    assert "usage" not in one(encode.delta(step(choice(finish="stop"), usage=USAGE)))
    assert encode.delta(step(usage=USAGE)) == b""
    assert encode.end(None) == b"data: [DONE]\n\n"


def test_usage_goes_out_once_at_the_end_and_is_null_before() -> None:
    encode = encoding(include_usage=True)
    first = one(encode.delta(step(choice(content="a"))))
    finish = one(encode.delta(step(choice(finish="stop"), usage=USAGE)))
    assert (first["usage"], finish["usage"]) == (None, None)
    assert encode.delta(step(usage=USAGE)) == b""
    last, done = frames(encode.end(None))
    assert (last["choices"], last["usage"], done) == ([], USAGE, "[DONE]")
    assert {k: last[k] for k in HEAD} == HEAD


def test_usage_of_another_dialect_is_told_in_openais_words() -> None:
    encode = encoding(include_usage=True)
    theirs = {"input_tokens": 3, "cache_read_input_tokens": 8}
    encode.delta(Delta(text="a", usage=Usage(11, 4, theirs, 8, 0, 2)))
    assert frames(encode.end(None))[0]["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 4,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (None, None),
        (Usage(), None),
        (Usage(0, 0), {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        (Usage(3, None), {"prompt_tokens": 3, "completion_tokens": None, "total_tokens": None}),
    ],
)
def test_litellm_37994_usage_nobody_counted_is_null_and_zero_stays_zero(
    usage: Usage | None, told: Any
) -> None:
    encode = encoding(include_usage=True)
    encode.delta(Delta(text="a", usage=usage))
    assert frames(encode.end(None))[0]["usage"] == told
    answer = Answer((Choice(0, (Text("a"),), "stop"),), usage)
    assert json.loads(encoding().once(answer, None))["usage"] == told


# Chunks without a choice


def test_timings_beside_the_usage_are_in_the_last_chunk() -> None:
    for asked in (True, False):
        encode = encoding(include_usage=asked)
        encode.delta(step(choice(content="a"), system_fingerprint="fp"))
        timed = step(usage=USAGE, timings={"n": 2}, system_fingerprint="fp", service_tier=None)
        assert encode.delta(timed) == b""
        last, _ = frames(encode.end(None))
        assert last["timings"] == {"n": 2}
        assert not {"system_fingerprint", "service_tier"} & set(last)
        assert last["choices"] == ([] if asked else [choice()])
        assert last.get("usage") == (USAGE if asked else None)
        assert ("usage" in last) is asked


def test_filter_results_before_the_first_choice_come_with_it() -> None:
    encode = encoding()
    assert encode.delta(step(prompt_filter_results=[{"prompt_index": 0}])) == b""
    first = one(encode.delta(step(choice(content="a"))))
    second = one(encode.delta(step(choice(content="b"))))
    assert first["prompt_filter_results"] == [{"prompt_index": 0}]
    assert "prompt_filter_results" not in second
    assert encode.end(None) == b"data: [DONE]\n\n"


def test_they_come_with_a_choice_of_our_own_making_too() -> None:
    encode = encoding()
    encode.delta(step(prompt_filter_results=[1]))
    assert one(encode.delta(Delta(text="a")))["prompt_filter_results"] == [1]


# Roles, choices and finish reasons


def test_each_choice_opens_with_its_role_and_says_it_once() -> None:
    encode = encoding()
    sent = [
        only_choice(encode.delta(delta))
        for delta in (
            step(choice(0, content="a")),
            step(choice(1, role="assistant", content="b")),
            step(choice(0, role="assistant", content="c")),
            Delta(index=2, text="e"),
            step(choice(1, content="d")),
            Delta(index=2, text="f"),
            step(choice(0, finish="stop")),
        )
    ]
    assert [(c["index"], c["delta"]) for c in sent] == [
        (0, {"role": "assistant", "content": "a"}),
        (1, {"role": "assistant", "content": "b"}),
        (0, {"content": "c"}),
        (2, {"role": "assistant", "content": "e"}),
        (1, {"content": "d"}),
        (2, {"content": "f"}),
        (0, {}),
    ]


def test_a_first_chunk_without_content_gets_an_empty_one_and_null_stays() -> None:
    opened = only_choice(encoding().delta(step(choice(refusal="no"))))
    assert opened["delta"] == {"role": "assistant", "content": "", "refusal": "no"}
    opened = only_choice(encoding().delta(step(choice(content=None, reasoning_content="hm"))))
    assert opened["delta"]["content"] is None


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "stop"])
def test_any_other_finish_reason_stays(reason: str) -> None:
    for delta in (step(choice(0, reason)), Delta(finish_reason=reason)):
        assert only_choice(encoding().delta(delta))["finish_reason"] == reason


def test_the_finish_reason_is_the_neutral_one() -> None:
    delta = step(choice(0, "eos_token"))
    delta.finish_reason = "stop"
    assert only_choice(encoding().delta(delta))["finish_reason"] == "stop"


def test_a_finish_reason_and_an_index_left_out_are_put_in() -> None:
    sent = {"choices": [{"delta": {"content": "a"}}]}
    assert one(encoding().delta(Delta(text="a", source=sent)))["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}
    ]


def test_unknown_fields_of_chunk_choice_and_delta_are_kept() -> None:
    odd = {**choice(content="a", annotations=[1]), "logprobs": {"content": []}, "z": 1}
    chunk = one(encoding().delta(step(odd, system_fingerprint="fp", timings={"n": 2})))
    assert (chunk["system_fingerprint"], chunk["timings"]) == ("fp", {"n": 2})
    assert (chunk["choices"][0]["logprobs"], chunk["choices"][0]["z"]) == ({"content": []}, 1)
    assert chunk["choices"][0]["delta"]["annotations"] == [1]


@pytest.mark.parametrize("delta", [None, "text", 5, []])
def test_a_delta_that_is_no_object_is_an_empty_one(delta: Any) -> None:
    odd = {"index": 0, "delta": delta, "finish_reason": "stop"}
    assert only_choice(encoding().delta(step(odd)))["delta"] == {
        "role": "assistant",
        "content": "",
    }


# Altered steps


def altered(source: dict[str, Any], **said: Any) -> Delta:
    return Delta(source=source, altered=True, **said)


def test_an_altered_step_is_made_again_and_the_rest_of_its_chunk_stays() -> None:
    encode = encoding()
    odd = {**choice(content="<th", annotations=[1]), "logprobs": {"content": []}}
    source = {"id": "theirs", "model": "x", "choices": [odd], "timings": {"n": 1}, "usage": USAGE}
    assert one(encode.delta(altered(source, text="a"))) == {
        **HEAD,
        "object": "chat.completion.chunk",
        "timings": {"n": 1},
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "a", "annotations": [1]},
                "logprobs": {"content": []},
                "finish_reason": None,
            }
        ],
    }


def test_two_steps_made_of_one_chunk_say_the_rest_of_it_once() -> None:
    encode = encoding()
    source = {"choices": [{**choice(content="hm</think>a"), "logprobs": 1}], "timings": {"n": 1}}
    first = one(encode.delta(altered(source, reasoning="hm")))
    second = one(encode.delta(altered(source, text="a", finish_reason="stop")))
    assert (first["timings"], first["choices"][0]["logprobs"]) == ({"n": 1}, 1)
    assert "timings" not in second
    assert second["choices"] == [choice(0, "stop", content="a")]


def test_an_altered_step_with_nothing_left_is_not_sent() -> None:
    assert encoding().delta(altered({"choices": [choice(content="<think>")]})) == b""


def test_a_delta_of_another_dialect_becomes_a_chunk() -> None:
    encode = encoding()
    assert encode.delta(Delta(model="x")) == b""
    assert one(encode.delta(Delta(text="a"))) == {
        **HEAD,
        "object": "chat.completion.chunk",
        "choices": [choice(role="assistant", content="a")],
    }
    assert one(encode.delta(Delta(text="b")))["choices"] == [choice(content="b")]
    assert one(encode.delta(Delta(finish_reason="stop")))["choices"] == [choice(0, "stop")]


# Tool calls


@pytest.mark.parametrize("empty", [[], None])
def test_litellm_29286_an_empty_list_of_tool_calls_is_none(empty: Any) -> None:
    said = only_choice(encoding().delta(step(choice(content="a", tool_calls=empty))))["delta"]
    assert said == {"role": "assistant", "content": "a"}
    message = whole({"message": {"content": "x", "tool_calls": empty}, "finish_reason": "stop"})
    assert "tool_calls" not in message["choices"][0]["message"]
    assert message["choices"][0]["finish_reason"] == "stop"


def test_a_call_is_opened_once_and_continued_by_its_index() -> None:
    encode = encoding()
    sent = [
        only_choice(encode.delta(delta))["delta"]
        for delta in (
            calling(ToolCallDelta(0, "a", "f", "")),
            calling(ToolCallDelta(0, arguments='{"x"')),
            calling(ToolCallDelta(0, arguments=":1}"), ToolCallDelta(1, "b", "g", "{}")),
        )
    ]
    opened = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    other = {
        "index": 1,
        "id": "b",
        "type": "function",
        "function": {"name": "g", "arguments": "{}"},
    }
    assert sent == [
        {"role": "assistant", "content": None, "tool_calls": [opened]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}, other]},
    ]


def test_litellm_25321_arguments_that_come_all_at_once_go_out() -> None:
    step = calling(ToolCallDelta(0, "a", "f", '{"x":1}'))
    (call,) = only_choice(encoding().delta(step))["delta"]["tool_calls"]
    assert call["function"]["arguments"] == '{"x":1}'


def test_the_steps_of_calls_are_ours_and_not_the_sources() -> None:
    ugly = {"function": {"name": "f", "arguments": ""}}
    source = {"choices": [{**choice(tool_calls=[ugly], x=1), "logprobs": 1}], "timings": 1}
    chunk = one(encoding().delta(calling(ToolCallDelta(0, "a", "f"), source=source)))
    (row,) = chunk["choices"]
    assert (chunk["timings"], row["logprobs"], row["delta"]["x"]) == (1, 1, 1)
    assert row["delta"]["tool_calls"][0]["id"] == "a"


def test_what_a_backend_wants_back_is_on_the_call() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "s"}}, "id": "never this"}
    delta = calling(ToolCallDelta(0, "a", "f", "{}", extra))
    (call,) = only_choice(encoding().delta(delta))["delta"]["tool_calls"]
    assert (call["id"], call["extra_content"]) == ("a", extra["extra_content"])
    later = calling(ToolCallDelta(0, arguments="x", extra={"extra_content": 1}))
    (call,) = only_choice(encoding().delta(later))["delta"]["tool_calls"]
    assert call == {"index": 0, "function": {"arguments": "x"}, "extra_content": 1}
    body = once(ToolCall("a", "f", "{}", extra), finish="stop")
    assert body["message"]["tool_calls"] == [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": extra["extra_content"],
        }
    ]


def test_a_choice_that_called_a_tool_finishes_with_it_and_the_other_does_not() -> None:
    encode = encoding()
    encode.delta(calling(ToolCallDelta(0, "a", "f"), index=1))
    finishes = [
        only_choice(encode.delta(delta))["finish_reason"]
        for delta in (
            step(choice(0, "stop")),
            step(choice(1, "stop")),
            Delta(index=1, finish_reason="stop"),
            Delta(index=1, finish_reason="length"),
        )
    ]
    assert finishes == ["stop", "tool_calls", "tool_calls", "length"]


def test_a_client_of_the_legacy_form_gets_its_call_in_it() -> None:
    encode = encoding(params=LEGACY)
    opened = only_choice(encode.delta(calling(ToolCallDelta(0, "a", "f", "{"))))
    later = only_choice(
        encode.delta(calling(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "b", "g")))
    )
    finish = only_choice(encode.delta(Delta(finish_reason="tool_calls")))
    assert opened["delta"] == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{"},
    }
    assert later["delta"] == {"function_call": {"arguments": "}"}}
    assert finish["finish_reason"] == "function_call"
    body = once(ToolCall("a", "f"), finish="tool_calls", params=LEGACY)
    assert body["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in body["message"]
    assert body["finish_reason"] == "function_call"


# Reasoning


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_mlx_vlm_1408_vllm_33402_reasoning_goes_out_under_both_names(name: str) -> None:
    both = {"reasoning": "hm", "reasoning_content": "hm"}
    for delta in (step(choice(**{name: "hm"})), Delta(reasoning="hm")):
        said = only_choice(encoding().delta(delta))["delta"]
        assert said == {"role": "assistant", "content": "", **both}
    same = Answer(
        (Choice(0, (Reasoning("hm"), Text("a")), "stop"),),
        source={"choices": [{"message": {"content": "a", name: "hm"}}]},
    )
    other = Answer((Choice(0, (Reasoning("h"), Reasoning("m"), Text("a")), "stop"),))
    for answer in (same, other):
        message = json.loads(encoding().once(answer, None))["choices"][0]["message"]
        assert message == {"role": "assistant", "content": "a", "refusal": None, **both}


def test_a_signed_block_goes_out_whole_so_that_it_can_come_back() -> None:
    encode = encoding()
    sent = [
        only_choice(encode.delta(delta))["delta"].get("reasoning_details")
        for delta in (
            Delta(reasoning="o"),
            Delta(reasoning="ne"),
            Delta(signature="s1"),
            Delta(redacted="xyz"),
            Delta(signature="s2"),
            Delta(reasoning="unsigned"),
            Delta(text="a"),
            Delta(reasoning="two", signature="s3"),
            Delta(index=1, redacted="abc"),
        )
    ]
    one_, two, three = (
        {"type": "reasoning.text", "text": text, "signature": signature, "index": index}
        for text, signature, index in (("one", "s1", 0), ("", "s2", 2), ("two", "s3", 3))
    )
    redacted = {"type": "reasoning.encrypted", "data": "xyz", "index": 1}
    assert sent == [
        None,
        None,
        [one_],
        [redacted],
        [two],
        None,
        None,
        [three],
        [{"type": "reasoning.encrypted", "data": "abc", "index": 0}],
    ]
    body = once(
        Reasoning("one", "s1"),
        Reasoning(redacted="xyz"),
        Reasoning("", "s2"),
        Reasoning("unsigned"),
        Text("a"),
        Reasoning("two", "s3"),
    )
    assert body["message"]["reasoning_details"] == [one_, redacted, two, three]
    assert body["message"]["reasoning"] == "oneunsignedtwo"


def test_a_backends_own_details_stay_when_a_step_is_made_again() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "index": 0}]
    source = {"choices": [choice(reasoning="hm", reasoning_details=details)]}
    said = only_choice(encoding().delta(altered(source, reasoning="hm", signature="s")))["delta"]
    assert said["reasoning_details"] == details


# Raw


def test_a_raw_event_goes_out_as_it_came() -> None:
    encode = encoding()
    payload = b'{"id":"theirs", "choices":[{"delta":{"content":"a"}}],"usage":null}'
    assert encode.delta(Delta(text="a", raw=payload)) == b"data: " + payload + b"\n\n"
    assert encode.delta(Delta(usage=COUNTED)) == b""
    assert encode.end(None) == b"data: [DONE]\n\n"


def test_of_several_steps_read_from_one_raw_event_one_brings_it() -> None:
    encode = encoding(include_usage=True)
    source = {"id": "theirs", "choices": [choice(content="a")], "system_fingerprint": "fp"}
    assert encode.delta(Delta(text="a", raw=b"{}", source=source)) == b"data: {}\n\n"
    assert encode.delta(Delta(index=1, text="b", source=source)) == b""
    counted = {"choices": [], "timings": {"n": 1}, "system_fingerprint": "fp", "usage": USAGE}
    assert encode.delta(Delta(usage=COUNTED, source=counted)) == b""
    last, _ = frames(encode.end(None))
    assert (last["id"], last["timings"], last["usage"]) == ("theirs", {"n": 1}, USAGE)
    assert "system_fingerprint" not in last


def test_a_raw_event_of_several_lines_stays_one_event() -> None:
    assert encoding().delta(Delta(raw=b'{"a":\n1}')) == b'data: {"a":\ndata: 1}\n\n'


def test_the_usage_behind_a_raw_stream_is_under_its_name() -> None:
    encode = encoding(include_usage=True)
    source = {"id": "theirs", "created": 5, "model": "theirs", "choices": []}
    encode.delta(Delta(text="a", raw=b"{}", source=source))
    encode.delta(Delta(usage=COUNTED))
    last, _ = frames(encode.end(None))
    assert last == {
        "id": "theirs",
        "created": 5,
        "model": "theirs",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": USAGE,
    }


def test_a_raw_body_goes_out_as_it_came_unless_there_are_sources_to_name() -> None:
    source = {"id": "theirs", "choices": [{"message": {"content": "a"}}]}
    answer = Answer((Choice(0, (Text("a"),), "stop"),), source=source, raw=b'{ "id": 1 }')
    assert encoding().once(answer, None) == b'{ "id": 1 }'
    assert json.loads(encoding().once(answer, HITS))["x_sources"] == SOURCES


# Names, sources, errors


@pytest.mark.parametrize(
    ("asked", "told"), [("", "small"), ("auto", "small"), ("alias", "alias"), ("m", "m")]
)
def test_the_model_is_the_name_asked_for_or_the_one_routing_settled_on(
    asked: str, told: str
) -> None:
    encode = encoding(model=asked)
    encode.named("small")
    assert one(encode.delta(step(choice(content="a"))))["model"] == told
    assert json.loads(encode.once(Answer((Choice(),)), None))["model"] == told


def test_sources_are_on_the_last_chunk_beside_the_usage() -> None:
    last, done = frames(encoding(include_usage=True).end(HITS))
    assert (last["x_sources"], last["choices"], last["usage"], done) == (
        SOURCES,
        [],
        None,
        "[DONE]",
    )


def test_sources_without_usage_come_with_an_empty_step_and_no_usage() -> None:
    last, done = frames(encoding().end(HITS))
    assert (last["x_sources"], last["choices"], done) == (SOURCES, [choice()], "[DONE]")
    assert "usage" not in last


def test_no_hits_are_an_empty_list_and_no_retrieval_is_no_field() -> None:
    assert frames(encoding().end(()))[0]["x_sources"] == []
    assert frames(encoding().end(None)) == ["[DONE]"]
    assert json.loads(encoding().once(Answer((Choice(),)), ()))["x_sources"] == []
    assert "x_sources" not in json.loads(encoding().once(Answer((Choice(),)), None))


def test_an_error_in_band_is_one_frame_with_all_four_keys() -> None:
    frame = one(encoding().error(ErrorView(502, "cut", "api_error", None)))
    assert frame == {"error": {"message": "cut", "type": "api_error", "param": None, "code": None}}


# Once


def once(*parts: Part, finish: str = "stop", params: dict[str, Any] | None = None) -> Any:
    """The one choice of an answer of another dialect."""
    encode = encoding(params=params)
    (row,) = json.loads(encode.once(Answer((Choice(0, parts, finish),)), None))["choices"]
    return row


def whole(*choices: dict[str, Any], **body: Any) -> dict[str, Any]:
    """A body of this dialect, through."""
    source = {"id": "theirs", "object": "x", "model": "/m.gguf", "choices": list(choices), **body}
    answer = Answer(tuple(map(read_choice, choices)), source=source)
    read: dict[str, Any] = json.loads(encoding().once(answer, HITS))
    return read


def read_choice(sent: dict[str, Any]) -> Choice:
    message = sent["message"]
    parts: list[Part] = [Text(message["content"])] if message.get("content") else []
    parts += [
        ToolCall(call["id"], call["function"]["name"]) for call in message.get("tool_calls") or ()
    ]
    return Choice(sent.get("index", 0), tuple(parts), sent.get("finish_reason"))


def test_a_whole_answer_keeps_the_backends_words_under_our_name() -> None:
    message = {"role": "assistant", "content": "hi", "audio": None, "refusal": None}
    sent = {"index": 0, "message": message, "logprobs": {"content": []}, "finish_reason": "stop"}
    assert whole(sent, usage=USAGE, system_fingerprint="fp") == {
        **HEAD,
        "object": "chat.completion",
        "choices": [sent],
        "usage": USAGE,
        "system_fingerprint": "fp",
        "x_sources": SOURCES,
    }


def test_what_a_choice_leaves_out_is_put_in() -> None:
    assert whole({"message": {}})["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": None},
            "logprobs": None,
            "finish_reason": None,
        }
    ]


def test_both_choices_of_n_2_are_there() -> None:
    both = whole(
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
    )["choices"]
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in both] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


def test_a_whole_answer_with_tool_calls_finishes_with_them() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    called = {"message": {"content": None, "tool_calls": calls}, "finish_reason": "stop"}
    (settled,) = whole(called)["choices"]
    assert (settled["finish_reason"], settled["message"]["content"]) == ("tool_calls", None)
    assert settled["message"]["tool_calls"] == calls


def test_an_altered_answer_is_made_again_choice_by_choice_over_its_source() -> None:
    source = {
        "choices": [
            {"index": 0, "message": {"content": "<think>hm</think>a", "audio": 1}, "logprobs": 2},
            {"index": 1, "message": {"content": '{"name":"f"}'}, "finish_reason": "stop"},
        ],
        "usage": USAGE,
        "timings": {"n": 1},
    }
    choices = (
        Choice(0, (Reasoning("hm"), Text("a")), "stop"),
        Choice(1, (ToolCall("a", "f"),), "stop"),
        Choice(2, (Text("one more than its source has"),), "stop"),
    )
    answer = Answer(choices, COUNTED, source=source, altered=True)
    body = json.loads(encoding().once(answer, None))
    first, second, third = body["choices"]
    assert (body["timings"], body["usage"], first["logprobs"]) == ({"n": 1}, USAGE, 2)
    assert first["message"] == {
        "role": "assistant",
        "content": "a",
        "reasoning": "hm",
        "reasoning_content": "hm",
        "audio": 1,
        "refusal": None,
    }
    assert second["message"]["content"] is None
    assert second["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert second["finish_reason"] == "tool_calls"
    assert third["message"]["content"] == "one more than its source has"


def test_a_whole_answer_of_another_dialect_becomes_openais() -> None:
    answer = Answer((Choice(0, (Text("h"), Text("i")), "stop"),), Usage(3, 4))
    assert json.loads(encoding().once(answer, None)) == {
        **HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_content_is_null_beside_tool_calls_and_a_text_otherwise() -> None:
    assert once(ToolCall("a", "f"))["message"]["content"] is None
    assert once(Text("hm"), ToolCall("a", "f"))["message"]["content"] == "hm"
    assert once()["message"]["content"] == ""


@pytest.mark.parametrize("changed", [True, False])
def test_encoding_a_whole_answer_leaves_the_backends_body_as_it_was(changed: bool) -> None:
    source = {"choices": [{"message": {"content": "a", "tool_calls": []}}], "model": "x"}
    before = json.dumps(source)
    answer = Answer((Choice(0, (Text("b"),)),), source=source, altered=changed)
    encoding().once(answer, HITS)
    assert json.dumps(source) == before


def test_a_refusal_is_never_the_content() -> None:
    message = once(Refusal("no"))["message"]
    assert (message["content"], message["refusal"]) == (None, "no")
    source = {"choices": [{"message": {"content": None, "refusal": "no"}}]}
    answer = Answer((Choice(0, (Refusal("no"),), "stop"),), source=source, altered=True)
    (row,) = json.loads(encoding().once(answer, None))["choices"]
    assert row["message"] == message
    told = step(choice(refusal="no"))
    for delta in (Delta(refusal="no"), replace(told, text="", refusal="no", altered=True)):
        opened = only_choice(encoding().delta(delta))
        assert opened["delta"] == {"role": "assistant", "content": "", "refusal": "no"}
