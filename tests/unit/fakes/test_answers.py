"""The behaviours say what their names promise."""

import struct
from base64 import b64decode
from typing import Any

import httpx
import pytest

from tests.fakes.actions import (
    Behaviour,
    Body,
    Cut,
    after_chunks,
    then,
    with_head,
)
from tests.fakes.answers import (
    WORDS,
    broken_json,
    chat,
    content_event,
    error_event,
    html_error,
    invalid_utf8,
    llamacpp_context_error,
    openai_context_error,
    rate_limited,
    reply,
    sse,
    vector,
    vllm_context_error,
)
from tests.fakes.scripted_backend import ScriptedBackend

from .asking import ask, ask_stream, content


def test_it_answers_once_and_streamed_unscripted(backend: ScriptedBackend) -> None:
    answer = ask(backend).json()
    assert answer["choices"][0]["message"]["content"] == "".join(WORDS)
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    chunks = ask_stream(backend)
    assert content(chunks) == "".join(WORDS)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1] == "[DONE]"
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_usage_is_where_the_script_says(backend: ScriptedBackend) -> None:
    asked = {"stream_options": {"include_usage": True}}
    last = ask_stream(backend, **asked)
    assert (last[-2]["choices"], last[-2]["usage"]["total_tokens"]) == ([], 12)
    assert all(chunk["usage"] is None for chunk in last[:-2])
    backend.script("m", chat(usage="finish"))
    finish = ask_stream(backend, **asked)[-2]
    assert (finish["choices"][0]["finish_reason"], finish["usage"]["total_tokens"]) == ("stop", 12)
    backend.script("m", chat(usage="none"))
    assert all("usage" not in chunk for chunk in ask_stream(backend, **asked)[:-1])
    assert "usage" not in ask(backend).json()


def test_tool_calls_and_reasoning(backend: ScriptedBackend) -> None:
    backend.script("m", chat((), tool_calls=[("c1", "f", '{"a":1}')], reasoning=("hm", "m")))
    message = ask(backend).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert (message["content"], message["reasoning_content"]) == (None, "hmm")
    chunks = ask_stream(backend)
    parts = [
        call for chunk in chunks[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert "".join(part["function"]["arguments"] for part in parts) == '{"a":1}'
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_models_and_embeddings(backend: ScriptedBackend) -> None:
    backend.models = ["a/b:c"]
    assert httpx.get(f"{backend.base_url}/models").json()["data"][0]["id"] == "a/b:c"

    def embed(**fields: Any) -> list[Any]:
        answer = httpx.post(f"{backend.base_url}/embeddings", json={"model": "e"} | fields).json()
        return [row["embedding"] for row in answer["data"]]

    assert embed(input=["x", "y"]) == [vector("x", 8), vector("y", 8)]
    packed = embed(input="x", encoding_format="base64", dimensions=4)[0]
    assert struct.unpack("<4f", b64decode(packed)) == pytest.approx(vector("x", 4))


def test_errors_in_band(backend: ScriptedBackend) -> None:
    backend.script("m", after_chunks(0, error_event("boom"), sse(done=False)))
    assert [chunk["error"]["message"] for chunk in ask_stream(backend)] == ["boom"]
    backend.script("m", then(after_chunks(3, error_event(code=500), chat()), Cut()))
    assert ask_stream(backend)[3]["error"]["code"] == 500


def test_a_handmade_script(backend: ScriptedBackend) -> None:
    behaviour = after_chunks(0, content_event("hi"), sse("{}", b'{"x": 1}', newline="\r\n"))
    backend.script("m", after_chunks(1, Body(b": ping\n\n"), behaviour))
    text = ask(backend, stream=True).text
    assert text.startswith("data: {")
    assert text.endswith(': ping\n\ndata: {}\r\n\r\ndata: {"x": 1}\r\n\r\ndata: [DONE]\r\n\r\n')


@pytest.mark.parametrize(
    ("behaviour", "status", "code", "kind"),
    [
        (llamacpp_context_error(), 400, 400, "exceed_context_size_error"),
        (vllm_context_error(), 400, 400, "BadRequestError"),
        (openai_context_error(), 400, "context_length_exceeded", "invalid_request_error"),
        (rate_limited("7"), 429, "rate_limit_exceeded", "requests"),
    ],
)
def test_errors_of_real_servers(
    backend: ScriptedBackend, behaviour: Behaviour, status: int, code: object, kind: str
) -> None:
    backend.script("m", behaviour)
    answer = ask(backend)
    assert answer.status_code == status
    assert (answer.json()["error"]["code"], answer.json()["error"]["type"]) == (code, kind)
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)


def test_bodies_that_are_not_what_they_should_be(backend: ScriptedBackend) -> None:
    backend.queue(html_error(), reply(500), broken_json(), invalid_utf8(), invalid_utf8())
    backend.queue(with_head(chat(), content_type="text/plain"))
    assert ask(backend).headers["content-type"] == "text/html"
    assert ask(backend).content == b""
    with pytest.raises(ValueError, match="Unterminated"):
        ask(backend).json()
    for stream in (False, True):
        with pytest.raises(UnicodeDecodeError):
            ask(backend, stream=stream).content.decode()
    assert ask(backend).headers["content-type"] == "text/plain"
