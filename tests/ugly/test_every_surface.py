"""Section 0 of the wire's facts: frames, usage and unknown fields, on every surface."""

import json
import threading
from typing import Any

import pytest

from tests.fakes import anthropic_answers as anthropic
from tests.fakes import ollama_answers as ollama
from tests.fakes.actions import Cut, Gate, after_chunks, before_headers, split
from tests.fakes.answers import chat, openai_error, reply_json, sse
from tests.fakes.messages_stream import accumulate
from tests.ugly.conftest import Lab
from tests.ugly.facts import untested
from tests.ugly.surfaces import SAYS, ask, streamed, surfaces
from tests.ugly.wires import (
    BODIES,
    CHAT,
    COMPLETIONS,
    MESSAGES,
    OPENAI,
    error_of,
    payloads,
    record_of,
    said,
)

FACTS = {
    "litellm#37994": "test_litellm_37994_a_stream_without_usage_has_unknown_usage",
    "llmr#10": "test_llmr_10_an_explicit_zero_stays_zero",
    "event stream headers": "test_headers_of_a_stream",
    "never gzip": "test_a_stream_is_never_compressed",
    "code points": "test_code_points_are_whole_however_upstream_cut_its_bytes",
    "keep-alive": "test_comments_keep_a_silent_stream_alive",
    "unknown fields": "test_unknown_fields_go_both_ways_in_the_same_dialect",
}

# -- frames


@surfaces
def test_headers_of_a_stream(lab: Lab, path: str) -> None:
    lab.first[OPENAI].queue(SAYS[path]("Fine."))
    response = ask(lab, path, f"on-{OPENAI}", stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.content.endswith(b"\n\n")


@surfaces
def test_a_stream_is_never_compressed(lab: Lab, path: str) -> None:
    lab.first[OPENAI].queue(SAYS[path]("Fine."))
    body = BODIES[path](f"on-{OPENAI}", stream=True)
    response = lab.http.post(path, json=body, headers={"accept-encoding": "gzip, br, zstd"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("kind", [OPENAI, "anthropic", "ollama"])
def test_code_points_are_whole_however_upstream_cut_its_bytes(
    lab: Lab, path: str, kind: str
) -> None:
    text = "naïve 🚀 日本語\nsecond\r\nthird  end"
    says = {
        OPENAI: chat(text),
        "anthropic": anthropic.messages(text),
        "ollama": ollama.ollama_chat(text),
    }[kind]
    lab.first[kind].queue(split(says, every=7, pause_s=0.00001))
    assert said(ask(lab, path, f"on-{kind}", stream=True)).text == text


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_surrogate_pair_in_two_chunks_is_one_character(lab: Lab, path: str) -> None:
    steps = ['{"content": "a\\ud83d"}', '{"content": "\\ude80b"}']
    chunks = [
        '{"id":"x","object":"chat.completion.chunk","created":1,"model":"up","choices":'
        f'[{{"index":0,"delta":{step},"finish_reason":null}}]}}'
        for step in steps
    ]
    end = '{"id":"x","model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    lab.first[OPENAI].queue(sse(*chunks, end))
    response = ask(lab, path, f"on-{OPENAI}", stream=True)
    response.content.decode("utf-8")
    if response.status_code == 200:
        answer = said(response)
        assert answer.error or answer.text == "a🚀b"
    else:
        error_of(response, 502)


@surfaces
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_line_end_of_an_event_stream_is_read(lab: Lab, path: str, newline: str) -> None:
    if path == COMPLETIONS:
        rows = [("Hel", None), ("lo", "stop")]
        told = [json.dumps({"choices": [{"index": 0, "text": t, "finish_reason": r}]})
                for t, r in rows]  # fmt: skip
        lab.first[OPENAI].queue(sse(*told, newline=newline))
        chunks = payloads(ask(lab, path, f"on-{OPENAI}", stream=True).content)
        text = "".join(c["choices"][0]["text"] for c in chunks if c != "[DONE]")
        assert text == "Hello"
        return
    lab.first[OPENAI].queue(chat(["Hel", "lo"], newline=newline))
    assert said(ask(lab, path, f"on-{OPENAI}", stream=True)).text == "Hello"


@surfaces
def test_comments_keep_a_silent_stream_alive(strict: Lab, path: str) -> None:
    heard = threading.Event()
    strict.first[OPENAI].queue(after_chunks(1, Gate(heard), SAYS[path](["one", " two"])))
    data = b""
    body = BODIES[path](f"on-{OPENAI}", stream=True)
    with strict.http.stream("POST", path, json=body) as response:
        for piece in response.iter_raw():
            data += piece
            if data.count(b": keep-alive\n\n") >= 2:
                heard.set()
    assert heard.is_set()
    if path == MESSAGES:
        assert [b["text"] for b in accumulate(data)["content"]] == ["one two"]
    else:
        payloads(data)


@surfaces
def test_headers_go_out_before_a_slow_first_token(strict: Lab, path: str) -> None:
    begun = threading.Event()
    strict.first[OPENAI].queue(before_headers(Gate(begun), SAYS[path]("late")))
    body = BODIES[path](f"on-{OPENAI}", stream=True)
    data = b""
    with strict.http.stream("POST", path, json=body) as response:
        for piece in response.iter_raw():
            data += piece
            if b": keep-alive" in data:
                begun.set()
    assert begun.is_set()
    assert b"late" in data


@surfaces
def test_a_failure_after_the_hold_and_before_content_is_in_band(strict: Lab, path: str) -> None:
    begun = threading.Event()
    strict.first[OPENAI].queue(
        before_headers(Gate(begun), openai_error(429, "slow down", "requests"))
    )
    body = BODIES[path](f"on-{OPENAI}", stream=True)
    with strict.http.stream("POST", path, json=body) as response:
        begun.set()
        response.read()
    assert response.status_code == 200
    if path == MESSAGES:
        error = accumulate(response.content)["error"]
        assert error["type"] == "rate_limit_error"
    else:
        (told,) = payloads(response.content)
        error = told["error"]
        assert set(error) == {"message", "type", "param", "code"}
    assert "slow down" in error["message"]
    assert record_of(strict, response)["status"] == "failed"


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_fallback_may_still_answer_after_the_hold(strict: Lab, path: str) -> None:
    begun = threading.Event()
    strict.first[OPENAI].queue(after_chunks(1, Gate(begun), after_chunks(1, Cut(), chat("lost"))))
    strict.second[OPENAI].queue(chat("Kept."))
    body = BODIES[path](f"first-{OPENAI}", stream=True)
    with strict.http.stream("POST", path, json=body) as response:
        begun.set()
        response.read()
    answer = said(response)
    assert (answer.text, answer.error) == ("Kept.", None)


# -- usage


@pytest.mark.parametrize("kind", [OPENAI, "ollama", "anthropic"])
@pytest.mark.parametrize("model", ["on", "raw"])
def test_litellm_37994_a_stream_without_usage_has_unknown_usage(
    lab: Lab, kind: str, model: str
) -> None:
    untold = anthropic.events(
        {"type": "message_start", "message": {"id": "msg_1", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hi"},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )
    says = {
        OPENAI: chat("Hi", usage="none"),
        "ollama": ollama.ollama_chat("Hi", counts=False),
        "anthropic": untold,
    }[kind]
    lab.first[kind].queue(says)
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    response = ask(lab, CHAT, f"{model}-{kind}", **asked)
    chunks = [c for c in payloads(response.content) if c != "[DONE]"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] is None
    record = record_of(lab, response)
    assert (record["input_tokens"], record["output_tokens"]) == (None, None)


@streamed
@pytest.mark.parametrize("model", ["on", "raw"])
def test_llmr_10_an_explicit_zero_stays_zero(lab: Lab, stream: bool, model: str) -> None:
    lab.first[OPENAI].queue(chat([], prompt_tokens=0))
    fields: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    response = ask(lab, CHAT, f"{model}-{OPENAI}", stream=stream, **fields)
    usage = said(response).usage if stream else response.json()["usage"]
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (0, 0)
    record = record_of(lab, response)
    assert (record["input_tokens"], record["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_litellm_37994_a_cut_stream_records_no_usage(lab: Lab, path: str) -> None:
    lab.first[OPENAI].queue(after_chunks(3, Cut(), chat(["a", "b", "c"])))
    record = record_of(lab, ask(lab, path, f"on-{OPENAI}", stream=True))
    assert (record["input_tokens"], record["output_tokens"]) == (None, None)


# -- unknown fields


@streamed
@pytest.mark.parametrize("model", ["on", "raw"])
def test_unknown_fields_go_both_ways_in_the_same_dialect(
    lab: Lab, stream: bool, model: str
) -> None:
    if stream:
        first = {"id": "x", "model": "up", "object": "chat.completion.chunk", "created": 1}
        chunks = [
            first | {"odd": {"a": [1]}, "choices": [
                {"index": 0, "delta": {"role": "assistant", "content": "Hi", "odd": 1},
                 "finish_reason": None, "odd": 2}]},
            first | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]  # fmt: skip
        lab.first[OPENAI].queue(sse(*map(json.dumps, chunks)))
    else:
        message = {"role": "assistant", "content": "Hi", "odd": 1}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "odd": 2}
        lab.first[OPENAI].queue(reply_json(200, {"choices": [choice], "odd": {"a": [1]}}))
    response = ask(lab, CHAT, f"{model}-{OPENAI}", stream=stream, odd_field={"deep": [1, None]})
    assert "x-dropped" not in response.headers
    assert lab.first[OPENAI].requests[0].json["odd_field"] == {"deep": [1, None]}
    body = payloads(response.content)[0] if stream else response.json()
    choice = body["choices"][0]
    assert body["odd"] == {"a": [1]}
    assert choice["odd"] == 2
    assert choice["delta" if stream else "message"]["odd"] == 1


@streamed
@pytest.mark.parametrize("model", ["on", "raw"])
def test_unknown_fields_of_messages_go_both_ways(lab: Lab, stream: bool, model: str) -> None:
    lab.first["anthropic"].queue(anthropic.messages("Hi"))
    fields = {"context_management": {"edits": []}, "service_tier": "auto"}
    response = ask(lab, MESSAGES, f"{model}-anthropic", stream=stream, **fields)
    assert said(response).text == "Hi"
    assert "x-dropped" not in response.headers
    asked = lab.first["anthropic"].requests[0].json
    assert asked["context_management"] == {"edits": []}
    assert asked["service_tier"] == "auto"


@pytest.mark.parametrize(
    ("path", "kind", "fields", "lost"),
    [
        (CHAT, "ollama", {"n": 1, "seed": 1, "odd": 1, "user": "ann"}, {"n", "odd", "user"}),
        (CHAT, "anthropic", {"seed": 1, "temperature": 1, "logprobs": False},
         {"seed", "logprobs"}),
        (CHAT, OPENAI, {"odd": 1, "seed": 1}, set()),
        (CHAT, OPENAI, {"x_odd": 1}, {"x_odd"}),
        (MESSAGES, OPENAI, {"top_k": 5, "context_management": {}, "service_tier": "auto"},
         {"top_k", "context_management", "service_tier"}),
        (MESSAGES, "vllm", {"top_k": 5, "thinking": {"type": "disabled"}}, set()),
        (MESSAGES, "ollama", {"metadata": {"user_id": "u"}, "top_k": 5}, {"metadata"}),
        (MESSAGES, "anthropic", {"odd": 1}, set()),
        (COMPLETIONS, OPENAI, {"suffix": ")", "echo": False, "odd": 1}, set()),
        (COMPLETIONS, "anthropic", {"suffix": ")", "max_tokens": 5}, {"suffix"}),
    ],
)  # fmt: skip
def test_x_dropped_names_what_was_not_sent_and_nothing_else(
    lab: Lab, path: str, kind: str, fields: dict[str, Any], lost: set[str]
) -> None:
    response = ask(lab, path, f"on-{kind}", **fields)
    assert response.status_code == 200, response.text
    told = response.headers.get("x-dropped", "")
    assert set(filter(None, told.split(", "))) == lost
    asked = lab.first[kind].requests[0].json
    for name in fields.keys() - lost:
        if path != MESSAGES and kind == OPENAI:
            assert asked[name] == fields[name]
    assert not any(name.startswith("x_") for name in asked)


def test_every_fact_of_this_file_has_a_test() -> None:
    assert untested(FACTS, globals()) == []
