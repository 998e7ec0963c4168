import json
from typing import Any

import pytest

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
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


def encoding(*, include_usage: bool = False, model: str = "m") -> ChatEncoder:
    request = ChatRequest(model, (Message("user", "hi"),), True, include_usage)
    return encoder(request, "trace", 1700)


def choice(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def step(*choices: dict[str, Any], **chunk: Any) -> Delta:
    """A chunk as a backend sent it; its words as the dialect client reads them."""
    counted = COUNTED if chunk.get("usage") else None
    source = {"id": "theirs", "object": "x", "created": 1, "model": "/m.gguf", **chunk}
    return Delta(usage=counted, source={**source, "choices": list(choices)})


def frames(data: bytes) -> list[Any]:
    """The payloads of whole frames; the frame format itself is asserted."""
    assert data.endswith(b"\n\n") or not data
    payloads = [part.removeprefix(b"data: ") for part in data.split(b"\n\n") if part]
    assert data == b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    return ["[DONE]" if p == b"[DONE]" else json.loads(p) for p in payloads]


def one(data: bytes) -> Any:
    (frame,) = frames(data)
    return frame


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


def test_usage_goes_out_once_at_the_end_and_is_null_before() -> None:
    encode = encoding(include_usage=True)
    first = one(encode.delta(step(choice(content="a"))))
    finish = one(encode.delta(step(choice(finish="stop"), usage=USAGE)))
    assert (first["usage"], finish["usage"]) == (None, None)
    assert encode.delta(step(usage=USAGE)) == b""
    last, done = frames(encode.end(None))
    assert (last["choices"], last["usage"], done) == ([], USAGE, "[DONE]")
    assert {k: last[k] for k in HEAD} == HEAD


def test_usage_in_the_finish_chunk_is_moved_or_removed() -> None:
    finish = step(choice(finish="stop"), usage=USAGE)
    assert "usage" not in one(encoding().delta(finish))


def test_usage_nobody_counted_is_null() -> None:
    encode = encoding(include_usage=True)
    assert frames(encode.end(None))[0]["usage"] is None


def test_usage_we_counted_ourselves_has_its_total() -> None:
    encode = encoding(include_usage=True)
    encode.delta(Delta(text="a", usage=Usage(3, 4)))
    assert frames(encode.end(None))[0]["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
    }


def test_each_choice_opens_with_its_role_and_says_it_once() -> None:
    encode = encoding()
    sent = [
        one(encode.delta(step(choice(0, content="a")))),
        one(encode.delta(step(choice(1, role="assistant", content="b")))),
        one(encode.delta(step(choice(0, role="assistant", content="c")))),
        one(encode.delta(step(choice(1, content="d"), choice(0, finish="stop")))),
    ]
    deltas = [(c["index"], c["delta"]) for chunk in sent for c in chunk["choices"]]
    assert deltas == [
        (0, {"role": "assistant", "content": "a"}),
        (1, {"role": "assistant", "content": "b"}),
        (0, {"content": "c"}),
        (1, {"content": "d"}),
        (0, {}),
    ]


def test_a_first_chunk_without_content_gets_an_empty_one_and_null_stays() -> None:
    assert one(encoding().delta(step(choice(reasoning="hm"))))["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
        "reasoning": "hm",
    }
    opened = one(encoding().delta(step(choice(content=None, reasoning_content="hm"))))
    assert opened["choices"][0]["delta"]["content"] is None


@pytest.mark.parametrize("empty", [[], None])
def test_empty_tool_calls_are_removed(empty: Any) -> None:
    delta = one(encoding().delta(step(choice(content="a", tool_calls=empty))))["choices"][0][
        "delta"
    ]
    assert delta == {"role": "assistant", "content": "a"}


def test_a_choice_that_called_a_tool_finishes_with_it_and_the_other_does_not() -> None:
    encode = encoding()
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    kept = one(encode.delta(step(choice(1, tool_calls=[call]))))
    assert kept["choices"][0]["delta"]["tool_calls"] == [call]
    finish = one(encode.delta(step(choice(0, "stop"), choice(1, "stop"))))
    assert [c["finish_reason"] for c in finish["choices"]] == ["stop", "tool_calls"]


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", "stop"])
def test_any_other_finish_reason_stays(reason: str) -> None:
    assert one(encoding().delta(step(choice(0, reason))))["choices"][0]["finish_reason"] == reason


def test_a_finish_reason_left_out_is_null() -> None:
    chunk = one(encoding().delta(Delta(source={"choices": [{"delta": {"content": "a"}}]})))
    assert chunk["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}
    ]


def test_unknown_fields_of_chunk_choice_and_delta_are_kept() -> None:
    odd = {**choice(content="a", reasoning_details=[1]), "logprobs": {"content": []}, "z": 1}
    chunk = one(encoding().delta(step(odd, system_fingerprint="fp", timings={"n": 2})))
    assert (chunk["system_fingerprint"], chunk["timings"]) == ("fp", {"n": 2})
    assert (chunk["choices"][0]["logprobs"], chunk["choices"][0]["z"]) == ({"content": []}, 1)
    assert chunk["choices"][0]["delta"]["reasoning_details"] == [1]


@pytest.mark.parametrize("delta", [None, "text", 5, []])
def test_a_delta_that_is_no_object_is_an_empty_one(delta: Any) -> None:
    odd = {"index": 0, "delta": delta, "finish_reason": "stop"}
    assert one(encoding().delta(step(odd)))["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
    }


def test_a_delta_of_another_dialect_becomes_a_chunk() -> None:
    encode = encoding()
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}
    assert encode.delta(Delta(model="x")) == b""
    assert one(encode.delta(Delta(text="a")))["choices"] == [choice(role="assistant", content="a")]
    assert one(encode.delta(Delta(tool_calls=[call])))["choices"] == [choice(tool_calls=[call])]
    assert one(encode.delta(Delta(finish_reason="stop")))["choices"] == [choice(0, "tool_calls")]


@pytest.mark.parametrize(
    ("asked", "told"), [("", "small"), ("auto", "small"), ("alias", "alias"), ("m", "m")]
)
def test_the_model_is_the_name_asked_for_or_the_one_routing_settled_on(
    asked: str, told: str
) -> None:
    encode = encoding(model=asked)
    encode.named("small")
    assert one(encode.delta(step(choice(content="a"))))["model"] == told
    assert json.loads(encode.once(Answer("a", "stop"), None))["model"] == told


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
    assert json.loads(encoding().once(Answer("a", "stop"), ()))["x_sources"] == []
    assert "x_sources" not in json.loads(encoding().once(Answer("a", "stop"), None))


def test_an_error_in_band_is_one_frame_with_all_four_keys() -> None:
    frame = one(encoding().error(ErrorView(502, "cut", "api_error", None)))
    assert frame == {"error": {"message": "cut", "type": "api_error", "param": None, "code": None}}


def whole(*choices: dict[str, Any], **body: Any) -> dict[str, Any]:
    source = {"id": "theirs", "object": "x", "model": "/m.gguf", "choices": list(choices), **body}
    read: dict[str, Any] = json.loads(encoding().once(Answer("", None, source=source), HITS))
    return read


def test_a_whole_answer_keeps_the_backends_words_under_our_name() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "hm", "refusal": None}
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


def test_a_whole_answer_with_tool_calls_finishes_with_them_and_empty_ones_go() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    called = {"message": {"content": None, "tool_calls": calls}, "finish_reason": "stop"}
    (settled,) = whole(called)["choices"]
    assert (settled["finish_reason"], settled["message"]["content"]) == ("tool_calls", None)
    for empty in ([], None):
        plain = {"message": {"content": "x", "tool_calls": empty}, "finish_reason": "stop"}
        (settled,) = whole(plain)["choices"]
        assert "tool_calls" not in settled["message"]
        assert settled["finish_reason"] == "stop"


def test_a_whole_answer_of_another_dialect_becomes_openais() -> None:
    answer = Answer("hi", "stop", Usage(3, 4))
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
    called = Answer("", "tool_calls", tool_calls=({"id": "a"},))
    body = json.loads(encoding().once(called, None))
    assert (body["usage"], body["choices"][0]["message"]["content"]) == (None, None)
    assert body["choices"][0]["message"]["tool_calls"] == [{"id": "a"}]


def test_encoding_a_whole_answer_leaves_the_backends_body_as_it_was() -> None:
    source = {"choices": [{"message": {"content": "a", "tool_calls": []}}], "model": "x"}
    before = json.dumps(source)
    encoding().once(Answer("a", None, source=source), HITS)
    assert json.dumps(source) == before
