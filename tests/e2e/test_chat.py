"""Chat completions through a real gateway process: once, streamed, and what is sent upstream."""

import httpx
import pytest

from tests.e2e.asking import CHAT, events, question, text_of
from tests.fakes.answers import chat, completion
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled


def test_once_answers_with_our_ids_and_the_backends_words(
    client: httpx.Client, gateway: GatewayProcess
) -> None:
    response = client.post(CHAT, json=question(), headers={"X-Correlation-ID": "thread-1"})
    body = response.json()
    trace_id = response.headers["x-request-id"]
    assert body["object"] == "chat.completion"
    assert body["id"] == f"chatcmpl-{trace_id}"
    assert body["model"] == "scripted"
    assert body["choices"][0]["message"]["content"] == "Hello there, friend."
    assert body["choices"][0]["message"]["refusal"] is None
    assert body["usage"]["prompt_tokens"] == 7
    assert response.headers["x-correlation-id"] == "thread-1"
    assert response.headers["request-id"] == trace_id
    assert response.headers["x-selected-backend"] == "scripted"
    assert response.headers["x-served-route"] == "direct"


def test_stream_without_usage_has_no_usage_anywhere(client: httpx.Client) -> None:
    response = client.post(CHAT, json=question(stream=True))
    chunks = events(response)
    assert response.headers["content-type"] == "text/event-stream"
    assert chunks[-1] == "[DONE]"
    assert text_of(chunks) == "Hello there, friend."
    assert all("usage" not in c and c["choices"] for c in chunks[:-1])
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in c["choices"][0]["delta"] for c in chunks[1:-1])
    assert len({(c["id"], c["created"], c["model"]) for c in chunks[:-1]}) == 1
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks[:-2])


@pytest.mark.parametrize("usage", ["last", "finish"])
def test_stream_with_usage_has_it_once_at_the_end(
    client: httpx.Client, backend: ScriptedBackend, usage: str
) -> None:
    backend.queue(chat(usage=usage))  # type: ignore[arg-type]
    asked = question(stream=True, stream_options={"include_usage": True})
    chunks = events(client.post(CHAT, json=asked))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["total_tokens"] == 12
    assert all(c["usage"] is None for c in chunks[:-2])


def test_usage_nobody_counted_is_null_not_zero(
    client: httpx.Client, backend: ScriptedBackend, gateway: GatewayProcess
) -> None:
    backend.queue(chat(usage="none"))
    asked = question(stream=True, stream_options={"include_usage": True})
    response = client.post(CHAT, json=asked)
    assert events(response)[-2]["usage"] is None
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["input_tokens"], record["output_tokens"]) == (None, None)


def test_upstream_is_always_asked_for_usage_and_gets_both_ids(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    response = client.post(CHAT, json=question(stream=True), headers={"X-Request-ID": "mine"})
    sent = backend.wait_request()
    assert sent.json["stream_options"] == {"include_usage": True}
    assert sent.headers["x-correlation-id"] == "mine"
    assert sent.headers["x-request-id"] == response.headers["x-request-id"]
    assert "authorization" not in sent.headers


def test_unknown_fields_reach_the_backend_and_ours_do_not(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    asked = question(min_p=0.05, chat_template_kwargs={"enable_thinking": False}, x_project="p")
    asked |= {"x_unheard_of": 1}
    options = {"stream": False, "stream_options": {"include_usage": True}}
    response = client.post(CHAT, json=asked | options)
    assert response.headers["x-dropped"] == "x_unheard_of"
    sent = backend.wait_request().json
    assert sent["min_p"] == 0.05
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert not [key for key in sent if key.startswith("x_")]
    assert "stream_options" not in sent
    assert sent["messages"] == asked["messages"]


def test_tool_calls_pass_and_finish_as_tool_calls(
    client: httpx.Client, backend: ScriptedBackend, gateway: GatewayProcess
) -> None:
    call = ("call_1", "look", '{"at":"it"}')
    backend.queue(chat("", tool_calls=[call]))
    response = client.post(CHAT, json=question(stream=True))
    chunks = events(response)[:-1]
    fragments = [f for c in chunks for f in c["choices"][0]["delta"].get("tool_calls", [])]
    assert "".join(f["function"].get("arguments", "") for f in fragments) == '{"at":"it"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert record["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":"it"}'}


def test_every_exchange_is_in_the_spool_before_its_last_frame(
    client: httpx.Client, gateway: GatewayProcess
) -> None:
    for stream in (False, True):
        response = client.post(CHAT, json=question("Kept?", stream=stream))
        trace_id = response.headers["x-request-id"]
        record = wait_spooled(gateway.spool, lambda r, t=trace_id: r["trace_id"] == t, 0.05)  # type: ignore[misc]
        assert record["status"] == "finished"
        assert record["answer"] == "Hello there, friend."
        assert record["messages"][0]["content"] == "Kept?"
        assert record["input_tokens"] == 7
        assert record["backend"] == "scripted"


def test_models_lists_what_backends_list_and_names_with_slashes_resolve(
    client: httpx.Client,
) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [row["id"] for row in listed["data"]] == ["scripted", "org/model:7b"]
    for path in ("/v1/models/org/model:7b", "/v1/models/org%2Fmodel:7b"):
        row = client.get(path).json()
        assert (row["id"], row["object"]) == ("org/model:7b", "model")
    assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


def test_an_empty_name_and_auto_go_to_the_default_backend(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    for name in ("", "auto"):
        response = client.post(CHAT, json=question() | {"model": name})
        assert response.json()["model"] == "scripted"
        assert response.headers["x-selected-model"] == "scripted"
    assert backend.wait_request(2).model == "scripted"


def test_the_access_log_names_the_exchange(client: httpx.Client, gateway: GatewayProcess) -> None:
    trace_id = client.post(CHAT, json=question(stream=True)).headers["x-request-id"]
    line = gateway.wait_log("request", trace_id=trace_id)
    assert line["role"] == "gateway"
    assert line["status"] == 200
    assert line["request_model"] == "scripted"
    assert line["backend"] == "scripted"
    assert line["stream"] is True
    assert line["message_count"] == 1
    assert (line["input_tokens"], line["output_tokens"]) == (7, 5)
    assert line["duration_s"] > 0


def test_metrics_count_exchanges_and_tokens(client: httpx.Client) -> None:
    client.post(CHAT, json=question())
    text = client.get("/metrics").text
    assert "appliance_exchanges_total" in text
    assert 'gen_ai_client_token_usage_count{backend="scripted"' in text
    assert 'appliance_backend_in_flight{backend="scripted"} 0.0' in text


def test_ready_names_what_is_degraded_and_health_does_not_ask(client: httpx.Client) -> None:
    ready = client.get("/ready")
    assert ready.status_code == 200
    body = ready.json()
    assert body["status"] == "degraded"
    assert set(body["degraded"]) == {"inference", "nats", "postgres"}
    assert body["backends"] == {"scripted": "ok"}
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_completion_reaches_a_server_of_openais_wire_whole(
    client: httpx.Client, backend: ScriptedBackend, stream: bool
) -> None:
    backend.queue(completion())
    own = {"suffix": "}", "echo": False, "best_of": 1}
    asked = {"model": "scripted", "prompt": "def f(", "stream": stream, **own}
    response = client.post("/v1/completions", json=asked)
    assert response.status_code == 200
    assert "x-dropped" not in response.headers
    assert own.items() <= backend.requests[-1].json.items()
