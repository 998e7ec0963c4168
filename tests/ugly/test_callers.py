"""Section 0 of the wire's facts: keys, sizes, routes and hang-ups, on every surface."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.fakes import anthropic_answers as anthropic
from tests.fakes.actions import Body, Stall, after_chunks, before_headers, paced
from tests.fakes.answers import chat, openai_error
from tests.fakes.spool_reader import wait_spooled
from tests.ugly.conftest import KEY, Lab
from tests.ugly.facts import untested
from tests.ugly.surfaces import SAYS, ask, streamed, surfaces
from tests.ugly.wires import (
    BODIES,
    CHAT,
    COMPLETIONS,
    MESSAGES,
    OPENAI,
    chat_stream,
    error_of,
    messages_body,
    record_of,
    said,
)

FACTS = {
    "auth": "test_bearer_and_x_api_key_are_both_taken_and_refused_in_the_surfaces_shape",
    "anthropic-beta": "test_an_unknown_anthropic_beta_is_not_required_and_not_refused",
    "hang-up": "test_a_client_that_leaves_before_the_first_token_frees_the_backend",
}

# -- keys, sizes, routes


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"x-api-key": KEY}],
)
@surfaces
def test_bearer_and_x_api_key_are_both_taken_and_refused_in_the_surfaces_shape(
    strict: Lab, path: str, headers: dict[str, str]
) -> None:
    strict.first[OPENAI].queue(SAYS[path]("Hi"))
    url, body = f"{strict.gateway.url}{path}", BODIES[path](f"on-{OPENAI}")
    assert httpx.post(url, json=body, headers=headers).status_code == 200
    for wrong in ({}, {name: f"{value}x" for name, value in headers.items()}):
        error = error_of(httpx.post(url, json=body, headers=wrong), 401)
        assert error["type"] == "authentication_error"


@pytest.mark.parametrize(
    "path", ["/v1/messages/count_tokens", "/v1/messages?beta=true", "/v1/models", "/v1/nowhere"]
)
def test_a_missing_key_is_told_in_anthropics_shape_to_its_clients(strict: Lab, path: str) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    body = httpx.post(f"{strict.gateway.url}{path}", json={}, headers=headers).json()
    assert body["type"] == "error"
    assert body["error"]["type"] == "authentication_error"


@surfaces
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_that_is_too_large_is_refused_in_the_surfaces_shape(
    strict: Lab, path: str, declared: bool
) -> None:
    body = json.dumps(BODIES[path](f"on-{OPENAI}", odd="x" * 70_000)).encode()
    content: Any = body if declared else iter([body[:40_000], body[40_000:]])
    response = strict.http.post(path, content=content)
    error = error_of(response, 413)
    wanted = "request_too_large" if path == MESSAGES else "invalid_request_error"
    assert error["type"] == wanted


@surfaces
def test_an_answer_before_its_request_was_read_ends_the_connection(strict: Lab, path: str) -> None:
    """Else a client's next request goes into a connection that the server is about to drop."""
    large, url = b"x" * 70_000, f"{strict.gateway.url}{path}"
    refused = [
        strict.http.post(path, content=large),
        strict.http.post("/v1/nowhere", content=large),
        httpx.post(url, content=large),
    ]
    assert [response.status_code for response in refused] == [413, 404, 401]
    assert [response.headers.get("connection") for response in refused] == ["close"] * 3
    strict.first[OPENAI].queue(openai_error(400, "no", "x"), SAYS[path]("Hi"))
    for body in ({}, BODIES[path](f"on-{OPENAI}"), BODIES[path](f"on-{OPENAI}")):
        assert "connection" not in strict.http.post(path, json=body).headers


@surfaces
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null", b"[" * 9000])
def test_a_body_that_is_no_object_is_a_400(lab: Lab, path: str, body: bytes) -> None:
    error = error_of(lab.http.post(path, content=body), 400)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/messages/", "/v1/messages/a/b"])
@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}])
def test_an_unknown_route_below_messages_is_told_in_anthropics_shape(
    lab: Lab, path: str, headers: dict[str, str]
) -> None:
    error = error_of(lab.http.post(path, json={}, headers=headers), 404)
    assert error["type"] == "not_found_error"


@surfaces
def test_a_method_that_is_not_served_is_told_in_the_surfaces_shape(lab: Lab, path: str) -> None:
    response = lab.http.get(path)
    assert error_of(response, 405)["type"] == "invalid_request_error"
    assert "POST" in response.headers["allow"]


@surfaces
def test_an_unknown_model_is_a_404(lab: Lab, path: str) -> None:
    error = error_of(ask(lab, path, "nobody-has-this"), 404)
    assert error["type"] == "not_found_error"
    assert "nobody-has-this" in error["message"]


def test_an_unknown_anthropic_beta_is_not_required_and_not_refused(lab: Lab) -> None:
    lab.first[OPENAI].queue(chat("Hi"))
    headers = {"anthropic-version": "2099-01-01", "anthropic-beta": "nobody-knows-2099,other"}
    body = messages_body(f"on-{OPENAI}")
    assert said(lab.http.post(MESSAGES, json=body, headers=headers)).text == "Hi"
    assert "anthropic-beta" not in lab.first[OPENAI].requests[0].headers
    assert said(lab.http.post(MESSAGES, json=messages_body("on-anthropic"), headers=headers)).text
    sent = lab.first["anthropic"].requests[0].headers
    assert sent["anthropic-beta"] == "nobody-knows-2099,other"


def test_the_callers_key_never_reaches_a_backend(strict: Lab) -> None:
    for kind in (OPENAI, "anthropic", "ollama"):
        ask(strict, MESSAGES, f"on-{kind}")
        sent = strict.first[kind].requests[0]
        assert KEY not in json.dumps(sent.headers)


# -- hang-ups


def _leave(lab: Lab, path: str, body: dict[str, Any], left: Any) -> None:
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(payload)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", lab.gateway.port)) as line:
        line.sendall(head.encode() + payload)
        left()


@surfaces
@streamed
@pytest.mark.parametrize("kind", [OPENAI, "anthropic", "ollama"])
def test_a_client_that_leaves_before_the_first_token_frees_the_backend(
    lab: Lab, path: str, stream: bool, kind: str
) -> None:
    backend = lab.first[kind]
    backend.queue(before_headers(Stall(), chat()))
    text = f"leaving {time.monotonic_ns()}"
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if path == COMPLETIONS:
        fields = {"prompt": text}
    _leave(lab, path, BODIES[path](f"on-{kind}", stream=stream, **fields), backend.wait_request)
    assert backend.wait_hang_up().hung_up_at is not None
    record = wait_spooled(lab.gateway.spool, lambda r: r["messages"][-1]["content"] == text)
    assert (record["status"], record["http_status"]) == ("cancelled", 499)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", ["on", "raw"])
def test_a_client_that_leaves_in_the_middle_frees_the_backend(
    lab: Lab, path: str, model: str
) -> None:
    kind = OPENAI if path == CHAT else "anthropic"
    slow = chat(["w "] * 5000) if path == CHAT else anthropic.messages(["w "] * 5000)
    lab.first[kind].queue(paced(slow, 0.005))
    body = BODIES[path](f"{model}-{kind}", stream=True)
    with lab.http.stream("POST", path, json=body) as response:
        next(response.iter_raw())
    assert lab.first[kind].wait_hang_up().hung_up_at is not None
    assert record_of(lab, response)["status"] == "cancelled"


def test_comments_and_garbage_of_upstream_are_no_content(lab: Lab) -> None:
    whole = chat(["Hi"])
    lab.first[OPENAI].queue(
        after_chunks(1, Body(b": OPENROUTER PROCESSING\n\n:\n\ndata:\n\nid: 7\n\n"), whole)
    )
    assert chat_stream(ask(lab, CHAT, f"on-{OPENAI}", stream=True).content)[0].text == "Hi"


def test_every_fact_of_this_file_has_a_test() -> None:
    assert untested(FACTS, globals()) == []
