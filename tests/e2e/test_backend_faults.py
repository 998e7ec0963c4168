"""Every way a backend fails, and what the caller is told: before the headers, and in band."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.asking import CHAT, ERROR_KEYS, error_of, events, question, text_of
from tests.fakes import answers
from tests.fakes.actions import (
    Cut,
    Gate,
    Reset,
    Stall,
    after_chunks,
    alone,
    before_headers,
    paced,
    split,
)
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend, closed_port
from tests.fakes.spool_reader import wait_spooled
from tests.fakes.until import WAIT_S

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])


@BOTH
@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (answers.openai_error(500, "fell over", "server_error"), 500, None),
        (answers.html_error(500), 500, None),
        (answers.openai_error(404, "no such model", "not_found_error", "gone"), 404, "gone"),
        (
            answers.openai_error(401, "bad key", "authentication_error"),
            502,
            "backend_authentication",
        ),
        (answers.rate_limited("2"), 429, "rate_limit_exceeded"),
        (answers.llamacpp_context_error(), 400, "context_length_exceeded"),
        (answers.vllm_context_error(), 400, "context_length_exceeded"),
        (answers.openai_context_error(), 400, "context_length_exceeded"),
        (answers.reply(200, b"<html>", "text/html"), 502, "backend_protocol_error"),
        (answers.broken_json(), 502, "backend_protocol_error"),
        (answers.invalid_utf8(), 502, "backend_protocol_error"),
        (answers.reply_json(200, {"error": {"message": "odd"}}), 502, "backend_protocol_error"),
        (answers.not_http(), 502, "backend_protocol_error"),
    ],
)
def test_an_early_failure_is_a_real_http_error(
    client: httpx.Client,
    backend: ScriptedBackend,
    gateway: GatewayProcess,
    stream: bool,
    behaviour: Any,
    status: int,
    code: str | None,
) -> None:
    backend.queue(behaviour)
    response = client.post(CHAT, json=question(stream=stream))
    assert error_of(response, status)["code"] == code
    assert len(backend.requests) == 1, "none of these is retried"
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["status"], record["http_status"]) == ("failed", status)
    assert record["error_type"]


@BOTH
@pytest.mark.parametrize(
    "behaviour",
    [
        alone(Cut()),
        alone(Reset()),
        answers.html_error(502),
        answers.html_error(503),
        answers.reply(504),
    ],
    ids=["closed", "reset", "502", "503", "504"],
)
def test_a_passing_failure_is_retried(
    client: httpx.Client, backend: ScriptedBackend, stream: bool, behaviour: Any
) -> None:
    backend.queue(behaviour)
    response = client.post(CHAT, json=question(stream=stream))
    assert response.status_code == 200, response.text
    assert len(backend.requests) == 2


@BOTH
def test_a_failure_that_stays_is_a_502(
    client: httpx.Client, backend: ScriptedBackend, stream: bool
) -> None:
    backend.queue(*[alone(Cut())] * 9)
    response = client.post(CHAT, json=question(stream=stream))
    assert error_of(response, 502)["code"] == "backend_unavailable"
    assert response.headers["x-should-retry"] == "true"
    # One try and one retry; a connection that had idled and is found dead is replaced besides.
    assert len(backend.requests) in (2, 3)


def test_retry_after_of_the_backend_reaches_the_client(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(answers.rate_limited("7"))
    response = client.post(CHAT, json=question())
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "behaviour",
    [
        after_chunks(3, Cut(), chat()),
        after_chunks(3, Reset(), chat()),
        after_chunks(3, answers.error_event("fell over"), chat()),
        chat(finish_reason=None, done=False, usage="none"),
    ],
    ids=["cut", "reset", "error in band", "ended without a finish reason"],
)
def test_a_late_failure_goes_in_band_and_is_no_success(
    client: httpx.Client, backend: ScriptedBackend, gateway: GatewayProcess, behaviour: Any
) -> None:
    backend.queue(behaviour)
    response = client.post(CHAT, json=question(stream=True))
    chunks = events(response)
    assert response.status_code == 200
    assert set(chunks[-1]["error"]) == ERROR_KEYS
    assert "[DONE]" not in chunks
    assert text_of(chunks[:-1]).startswith("Hello")
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(gateway.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["status"], record["http_status"]) == ("failed", 200)
    assert record["answer"].startswith("Hello")


def test_an_error_in_band_before_content_is_a_real_http_error(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(after_chunks(1, answers.error_event("fell over"), chat()))
    error = error_of(client.post(CHAT, json=question(stream=True)), 502)
    assert "fell over" in error["message"]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_a_stream_cut_anywhere_reads_the_same(
    client: httpx.Client, backend: ScriptedBackend, every: int
) -> None:
    backend.queue(split(chat(["naïve ", "日本", "語 🎉"]), every=every))
    chunks = events(client.post(CHAT, json=question(stream=True)))
    assert text_of(chunks) == "naïve 日本語 🎉"
    assert chunks[-1] == "[DONE]"


def test_a_stream_without_done_after_its_finish_reason_is_whole(
    client: httpx.Client, backend: ScriptedBackend
) -> None:
    backend.queue(chat(done=False))
    assert events(client.post(CHAT, json=question(stream=True)))[-1] == "[DONE]"


@pytest.fixture(scope="module")
def spare() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(models=["spare"]) as running:
        yield running


@BOTH
@pytest.mark.parametrize("down", ["refuses", "500", "cut"])
def test_the_next_backend_takes_over_before_content(
    backend: ScriptedBackend,
    spare: ScriptedBackend,
    tmp_path_factory: pytest.TempPathFactory,
    stream: bool,
    down: str,
) -> None:
    cut = after_chunks(1, Cut(), chat()) if stream else alone(Cut())
    behaviours = {"500": answers.reply(500), "cut": cut}
    backend.forget()
    with closed_port() as port:
        base_url = f"http://127.0.0.1:{port}/v1" if down == "refuses" else backend.base_url
        config = (
            backend_config(base_url)
            + f"""
[[backends]]
name = "spare"
kind = "openai-compatible"
base_url = "{spare.base_url}"
[[models]]
match = "scripted"
backend = "scripted"
fallback = ["spare"]
[[models]]
match = "scripted"
backend = "spare"
upstream_model = "spare-model"
"""
        )
        with GatewayProcess(tmp_path_factory.mktemp("spare"), config) as pair:
            backend.queue(*[behaviours[down]] * 9 if down != "refuses" else [])
            spare.queue(chat("from the spare"))
            response = httpx.post(pair.url + CHAT, json=question(stream=stream), timeout=WAIT_S)
            backend.forget()
            assert response.status_code == 200, response.text
            assert "from the spare" in response.text
            assert response.headers["x-selected-backend"] == "spare"
            assert response.headers["x-router-reason"].startswith("name scripted; after scripted: ")
            assert spare.requests[-1].model == "spare-model"
            trace_id = response.headers["x-request-id"]
            record = wait_spooled(pair.spool, lambda r: r["trace_id"] == trace_id)
            assert record["backend"] == "spare"
            assert [a["outcome"] for a in record["attempts"]][-1] == "ok"
            assert len(record["attempts"]) >= 2


def test_a_full_backend_is_a_429_with_retry_after(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    more = "max_in_flight = 1\nmax_queue = 1\nqueue_timeout_s = 0.3"
    config = backend_config(backend.base_url, more=more)
    with GatewayProcess(tmp_path_factory.mktemp("full"), config) as full:
        backend.queue(after_chunks(2, Stall(), chat()))
        with httpx.stream("POST", full.url + CHAT, json=question(stream=True)) as first:
            lines = first.iter_lines()  # dropping it would hang up
            next(lines)
            response = httpx.post(full.url + CHAT, json=question(), timeout=WAIT_S)
        assert error_of(response, 429)["code"] == "backend_busy"
        assert int(response.headers["retry-after"]) >= 1


SOON_ALIVE = "[gateway]\nheader_hold_s = 0.3\nkeepalive_s = 0.2\n"
LIMITS = f"{SOON_ALIVE}first_token_timeout_s = 2.0\ntotal_timeout_s = 4.0\n"


@pytest.fixture(scope="module")
def hasty(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with little patience."""
    config = backend_config(backend.base_url) + LIMITS
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), config) as running:
        yield running


@pytest.fixture(scope="module")
def patient(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that says soon that it waits, and waits."""
    config = backend_config(backend.base_url) + SOON_ALIVE
    with GatewayProcess(tmp_path_factory.mktemp("patient"), config) as running:
        yield running


def test_headers_go_out_after_the_hold_and_comments_keep_the_line_alive(
    backend: ScriptedBackend, patient: GatewayProcess
) -> None:
    heard = threading.Event()
    backend.queue(before_headers(Gate(heard), chat()))
    asked = question(stream=True)
    with httpx.stream("POST", patient.url + CHAT, json=asked, timeout=WAIT_S) as response:
        lines = response.iter_lines()
        assert next(lines) == ": keep-alive"
        heard.set()
        assert "Hello" in "".join(lines)


def test_no_first_token_in_time_is_an_error_in_band(
    backend: ScriptedBackend, hasty: GatewayProcess
) -> None:
    backend.queue(before_headers(Stall(), chat()))
    response = httpx.post(hasty.url + CHAT, json=question("stall", stream=True), timeout=WAIT_S)
    assert events(response)[-1]["error"]["code"] == "backend_timeout"
    trace_id = response.headers["x-request-id"]
    record = wait_spooled(hasty.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["status"], record["error_type"]) == ("failed", "BackendTimeout")
    assert backend.wait_hang_up()


def test_an_answer_that_takes_too_long_ends_in_an_error(
    backend: ScriptedBackend, hasty: GatewayProcess
) -> None:
    backend.queue(paced(chat(["word "] * 100), 0.05))
    response = httpx.post(hasty.url + CHAT, json=question(stream=True), timeout=WAIT_S)
    chunks = events(response)
    assert chunks[-1]["error"]["code"] == "backend_timeout"
    assert text_of(chunks[:-1]).startswith("word word")
    backend.queue(before_headers(Stall(), chat()))
    once = httpx.post(hasty.url + CHAT, json=question(), timeout=WAIT_S)
    assert error_of(once, 504)["code"] == "backend_timeout"
