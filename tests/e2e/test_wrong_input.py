"""What a caller gets wrong is told in OpenAI's error object, and never a 500."""

from typing import Any

import httpx
import pytest

from tests.e2e.asking import CHAT, error_of, question
from tests.fakes.gateway import GatewayProcess

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"", None),
        (b"[1]", None),
        (b'{"model":"scripted","messages":[{"role":"user","content":"\xff\xfe"}]}', None),
        (b'{"model":"scripted"}', "messages"),
        (b'{"model":"scripted","messages":[]}', "messages"),
        (b'{"model":"scripted","messages":"hi"}', "messages"),
        (b'{"model":"scripted","messages":[{"content":"hi"}]}', None),
        (b'{"model":"scripted","messages":[{"role":"wizard","content":"x"}]}', "messages[0].role"),
        (b'{"model":7,"messages":[{"role":"user","content":"hi"}]}', "model"),
        (b'{"model":"scripted","messages":[{"role":"user","content":5}]}', "messages[0].content"),
        (b"[" * 100_000, None),
    ],
)
def test_a_malformed_request_is_a_400(client: httpx.Client, body: bytes, param: str | None) -> None:
    error = error_of(client.post(CHAT, content=body), 400)
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"n": 0}, "n"),
        ({"tools": "none"}, "tools"),
        ({"x_route": "elsewhere"}, "x_route"),
        ({"x_workspace": "../etc"}, "x_workspace"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, fields: dict[str, Any], param: str) -> None:
    assert error_of(client.post(CHAT, json=question(**fields)), 400)["param"] == param


def test_a_model_nobody_serves_is_a_404(client: httpx.Client) -> None:
    error = error_of(client.post(CHAT, json=question() | {"model": "no-such"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_a_path_and_a_method_nobody_answers_are_openai_errors(client: httpx.Client) -> None:
    assert error_of(client.get("/v1/nothing"), 404)["code"] == "not_found"
    assert error_of(client.get(CHAT), 405)["code"] == "method_not_allowed"


def test_a_made_up_method_and_an_upgrade_are_openai_errors_too(client: httpx.Client) -> None:
    assert error_of(client.request("FOO", CHAT), 400)["type"] == "invalid_request_error"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert error_of(client.get(CHAT, headers=upgrade), 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize("declared", [True, False])
def test_an_oversized_body_is_a_413(
    tmp_path_factory: pytest.TempPathFactory, declared: bool
) -> None:
    config = "[gateway]\nmax_body_bytes = 2048\n"
    with GatewayProcess(tmp_path_factory.mktemp("small"), config) as small:
        body = b'{"model":"scripted","messages":"' + b"x" * 100_000 + b'"}'
        content: Any = body if declared else iter([body[:50_000], body[50_000:]])
        error = error_of(httpx.post(small.url + CHAT, content=content, timeout=60), 413)
        assert error["code"] == "request_too_large"


@pytest.mark.parametrize("hostile", ["a b", "x" * 129, "<script>", "ünïcode", "a;b", "../../etc ?"])
def test_a_hostile_correlation_id_is_replaced_and_said_so(
    client: httpx.Client, hostile: str
) -> None:
    sent = {"X-Correlation-ID": hostile.encode("utf-8")}
    response = client.post(CHAT, json=question(), headers=sent)  # type: ignore[arg-type]
    assert response.status_code == 200
    assert response.headers["x-correlation-id"] == response.headers["x-request-id"]
    assert response.headers["x-correlation-id-replaced"] == "invalid"


def test_embeddings_refuse_token_arrays_and_empty_input(client: httpx.Client) -> None:
    for given in ([1, 2, 3], [[1, 2]], [], "", ["a", ""]):
        response = client.post("/v1/embeddings", json={"model": "auto", "input": given})
        assert error_of(response, 400)["param"] == "input"


def test_embeddings_without_the_inference_role_are_a_503(client: httpx.Client) -> None:
    response = client.post("/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": "x"})
    assert error_of(response, 503)["code"] == "inference_unavailable"
    assert response.headers["x-should-retry"] == "true"


def test_embeddings_of_a_backends_model_come_from_it(client: httpx.Client) -> None:
    body = {"model": "scripted", "input": ["a", "b"], "encoding_format": "float"}
    answer = client.post("/v1/embeddings", json=body).json()
    assert [row["index"] for row in answer["data"]] == [0, 1]
    assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
