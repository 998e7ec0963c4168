"""Sections 1.4 to 1.6 of the wire's facts: whole answers, errors, models; and images by URL."""

import base64
from typing import Any

import pytest

from tests.fakes.actions import Behaviour, Received
from tests.fakes.answers import openai_error, reply, reply_json, sse
from tests.fakes.scripted_backend import ScriptedBackend
from tests.ugly.chat import ask, post, shapes, surfaces
from tests.ugly.conftest import Lab
from tests.ugly.facts import untested
from tests.ugly.wires import (
    CHAT,
    COMPLETIONS,
    MESSAGES,
    OPENAI,
    PIXEL,
    chat_body,
    chunks_of,
    error_of,
    messages_body,
    payloads,
    said,
)

FACTS = {
    "once object": "test_a_whole_answer_has_every_field",
    "error object": "test_every_error_has_four_keys",
    "models": "test_models_of_both_shapes",
    "model ids": "test_a_model_id_may_hold_slashes_and_colons",
    "image urls": "test_an_image_by_url_is_fetched_and_inlined",
}

# -- 1.4 and 1.5


def test_a_whole_answer_has_every_field(lab: Lab) -> None:
    bare = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    response = post(lab, reply_json(200, bare), CHAT, f"on-{OPENAI}")
    body = response.json()
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == f"on-{OPENAI}"
    message = {"role": "assistant", "content": "Hi", "refusal": None}
    assert body["choices"] == [
        {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    ]


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}], 5, {}])
def test_an_answer_that_says_nothing_is_an_empty_text(lab: Lab, content: Any) -> None:
    bare = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    for path in (CHAT, MESSAGES):
        answer = said(post(lab, reply_json(200, bare), path, f"on-{OPENAI}"))
        assert answer.text == ""
        assert answer.calls == []
    rows = chunks_of({"content": content}, {"content": "b"}, {"content": content})
    assert ask(lab, sse(*rows), stream=True).text == "b"


@shapes
def test_a_refusal_stays_one(lab: Lab, stream: bool) -> None:
    told = {"role": "assistant", "content": None, "refusal": "No."}
    if stream:
        says = sse(*chunks_of(told, {}))
    else:
        says = reply_json(200, {"choices": [{"message": told, "finish_reason": "stop"}]})
    response = post(lab, says, CHAT, f"on-{OPENAI}", stream=stream)
    row = (payloads(response.content)[0] if stream else response.json())["choices"][0]
    message = row["delta" if stream else "message"]
    assert (message["refusal"], message["content"]) == ("No.", None)
    answer = said(post(lab, says, MESSAGES, f"on-{OPENAI}", stream=stream))
    assert (answer.text, answer.finish) == ("No.", "refusal")


@pytest.mark.parametrize("choices", [None, [], {}, [None], ["x"], [{}], [{"message": 5}]])
@surfaces
def test_an_answer_that_is_none_is_a_502(lab: Lab, path: str, choices: Any) -> None:
    error_of(post(lab, reply_json(200, {"choices": choices}), path, f"on-{OPENAI}"), 502)


@pytest.mark.parametrize(
    "says",
    [
        openai_error(429, "slow", "requests", "rate_limit_exceeded"),
        reply_json(429, {"detail": "slow"}),
        reply_json(429, [{"error": {"message": "slow"}}]),
        reply(429, b"slow", "text/plain"),
        reply_json(429, {"error": "slow"}),
        reply_json(429, {"error": None}),
        reply(429, b"", ""),
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES])
def test_every_error_has_four_keys(lab: Lab, path: str, says: Behaviour) -> None:
    error = error_of(post(lab, says, path, f"on-{OPENAI}"), 429)
    assert isinstance(error["type"], str)
    if path == MESSAGES:
        assert error["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"x_route": "a b"}, "x_route"),
        ({"x_route": "elsewhere"}, "x_route"),
    ],
)
def test_a_wrong_request_is_a_400_that_names_the_field(
    lab: Lab, fields: dict[str, Any], param: str
) -> None:
    error = error_of(lab.http.post(CHAT, json=chat_body(f"on-{OPENAI}") | fields), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


# -- 1.6 models


def test_models_of_both_shapes(lab: Lab) -> None:
    body = lab.http.get("/v1/models").json()
    assert body["object"] == "list"
    for row in body["data"]:
        assert row.keys() >= {"id", "object", "created", "owned_by"}
        assert row["object"] == "model"
        assert isinstance(row["created"], int)
    theirs = lab.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
    assert [row["id"] for row in theirs["data"]] == [row["id"] for row in body["data"]]
    assert (theirs["first_id"], theirs["last_id"]) == (
        body["data"][0]["id"],
        body["data"][-1]["id"],
    )
    assert theirs["has_more"] is False
    for row in theirs["data"]:
        assert row["type"] == "model"
        assert row["display_name"]
        assert row["created_at"].endswith("Z")


@pytest.mark.parametrize("name", ["on-openai-compatible", "on%2Dopenai-compatible"])
def test_a_model_id_may_hold_slashes_and_colons(lab: Lab, name: str) -> None:
    assert lab.http.get(f"/v1/models/{name}").json()["id"] == "on-openai-compatible"
    for path in ("/v1/models/org/nobody:7b", "/v1/models/org%2Fnobody:7b"):
        error = error_of(lab.http.get(path), 404)
        assert error["code"] == "model_not_found"
        assert "org/nobody:7b" in error["message"]
        told = lab.http.get(path, headers={"anthropic-version": "2023-06-01"})
        assert told.status_code == 404
        assert told.json()["type"] == "error"
        assert told.json()["error"]["type"] == "not_found_error"


def test_no_model_is_listed_twice(lab: Lab) -> None:
    ids = [row["id"] for row in lab.http.get("/v1/models").json()["data"]]
    assert len(ids) == len(set(ids))


# -- images by URL


def _shows(url: str, **more: Any) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url} | more}
    text = {"type": "text", "text": "What is it?"}
    return {"messages": [{"role": "user", "content": [text, image]}]}


def _pictures(backend: ScriptedBackend) -> str:
    backend.on_path("GET /pixel.png", reply(200, PIXEL, "image/png"))
    return f"{backend.url}/pixel.png?secret=1"


def _asked_for(backend: ScriptedBackend) -> list[Received]:
    return [probe for probe in backend.probes if probe.path.startswith(("/pixel", "/away"))]


def test_an_image_on_loopback_is_refused(lab: Lab) -> None:
    url = _pictures(lab.second[OPENAI])
    seen = len(_asked_for(lab.second[OPENAI]))
    body = chat_body(f"on-{OPENAI}") | _shows(url)
    error = error_of(lab.http.post(CHAT, json=body), 400)
    assert "secret" not in error["message"]
    assert lab.first[OPENAI].requests == []
    assert len(_asked_for(lab.second[OPENAI])) == seen


@pytest.mark.parametrize("kind", [OPENAI, "anthropic", "ollama"])
@pytest.mark.parametrize("model", ["on", "raw"])
def test_an_image_by_url_is_fetched_and_inlined(strict: Lab, kind: str, model: str) -> None:
    url = _pictures(strict.second[OPENAI])
    body = chat_body(f"{model}-{kind}") | _shows(url, detail="low")
    response = strict.http.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    sent = strict.first[kind].requests[0].body.decode()
    assert base64.b64encode(PIXEL).decode() in sent
    assert "pixel.png" not in sent


def test_the_detail_of_an_inlined_image_is_kept(strict: Lab) -> None:
    url = _pictures(strict.second[OPENAI])
    body = chat_body(f"on-{OPENAI}") | _shows(url, detail="low")
    assert strict.http.post(CHAT, json=body).status_code == 200
    sent = strict.first[OPENAI].requests[0].json["messages"][0]["content"]
    assert sent[1]["image_url"]["detail"] == "low"


def test_a_redirect_is_followed_only_where_it_may_go(strict: Lab) -> None:
    backend = strict.second[OPENAI]
    url = _pictures(backend)
    backend.on_path("GET /away.png", reply(302, b"", "", location=url))
    body = chat_body(f"on-{OPENAI}") | _shows(f"{backend.url}/away.png")
    assert strict.http.post(CHAT, json=body).status_code == 200
    for target in ("http://169.254.169.254/latest", "file:///etc/passwd", "ftp://127.0.0.1/x"):
        backend.on_path("GET /away.png", reply(302, b"", "", location=target))
        error = error_of(strict.http.post(CHAT, json=body), 400)
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://127.0.0.1:1/x.png", "http://[::1]/x", "http://0x7f.1/x",
     "http://localhost/x", "gopher://x/", "http://169.254.169.254/latest/meta-data"],
)  # fmt: skip
def test_an_image_from_inside_is_refused_on_every_surface(lab: Lab, url: str) -> None:
    error_of(lab.http.post(CHAT, json=chat_body(f"on-{OPENAI}") | _shows(url)), 400)
    block = {"type": "image", "source": {"type": "url", "url": url}}
    turns = {"messages": [{"role": "user", "content": [block]}]}
    for kind in (OPENAI, "anthropic"):
        body = messages_body(f"on-{kind}") | turns
        error_of(lab.http.post(MESSAGES, json=body), 400)
        assert lab.first[kind].requests == []


def test_every_fact_of_this_file_has_a_test() -> None:
    assert untested(FACTS, globals()) == []
