"""A gateway with nothing beside it: how it starts, how it stops, and what it keeps when killed."""

import json
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.asking import CHAT, error_of, events, question, text_of
from tests.fakes.actions import Stall, before_headers, paced
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import spooled, wait_spooled
from tests.fakes.until import WAIT_S

PARTS = {"inference", "nats", "postgres"}
DRAIN = "[gateway]\ndrain_s = {}\n"


def test_without_its_parts_it_serves_chat_and_names_them(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, backend_config(backend.base_url)) as alone:
        ready = httpx.get(f"{alone.url}/ready")
        assert ready.status_code == 200
        body = ready.json()
        assert (body["status"], set(body["degraded"])) == ("degraded", PARTS)
        assert all(body["parts"][part] != "ok" for part in PARTS)
        assert body["parts"]["spool"] == "ok"
        answer = httpx.post(alone.url + CHAT, json=question(x_route="rag"))
        assert answer.status_code == 200
        assert answer.headers["x-rag"].startswith("degraded:")


def test_without_a_backend_it_runs_and_is_not_ready(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "") as alone:
        ready = httpx.get(f"{alone.url}/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert httpx.get(f"{alone.url}/healthz").status_code == 200
        assert httpx.get(f"{alone.url}/v1/models").json() == {"object": "list", "data": []}


def test_its_log_says_once_where_it_listens(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "") as alone:
        line = alone.wait_log("listening", role="gateway", address=f"127.0.0.1:{alone.port}")
        assert line["level"] == "info"
        alone.stop()
        assert [each["event"] for each in alone.log].count("listening") == 1


def test_parts_that_are_named_and_down_do_not_keep_it_from_starting(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    config = (
        backend_config(backend.base_url)
        + """
[nats]
url = "nats://127.0.0.1:1"
[postgres]
dsn = "host=127.0.0.1 port=1 user=x dbname=x"
[inference]
url = "http://127.0.0.1:1"
"""
    )
    with GatewayProcess(tmp_path, config) as alone:
        body = httpx.get(f"{alone.url}/ready", timeout=WAIT_S).json()
        assert (body["status"], set(body["degraded"])) == ("degraded", PARTS)
        assert httpx.post(alone.url + CHAT, json=question()).status_code == 200
        alone.stop()
        assert alone.process is not None
        assert alone.process.returncode == 0
    assert len(spooled(alone.spool)) == 1


class Reader(threading.Thread):
    """Reads one stream to its end, whatever that is."""

    def __init__(self, url: str, text: str) -> None:
        super().__init__(daemon=True)
        self._url, self._text = url, text
        self.body = b""
        self.error: Exception | None = None
        self.begun = threading.Event()

    def run(self) -> None:
        try:
            asked = question(self._text, stream=True)
            with httpx.stream("POST", self._url + CHAT, json=asked, timeout=WAIT_S) as response:
                for piece in response.iter_bytes():
                    self.body += piece
                    self.begun.set()
        except httpx.HTTPError as exc:
            self.error = exc
        finally:
            self.begun.set()


def stop_while_reading(gateway: GatewayProcess, text: str) -> tuple[Reader, float]:
    """SIGTERM in the middle of a stream; the reader at its end, and how long stopping took."""
    reader = Reader(gateway.url, text)
    reader.start()
    assert reader.begun.wait(WAIT_S)
    started = time.monotonic()
    gateway.stop()
    took_s = time.monotonic() - started
    reader.join(WAIT_S)
    assert not reader.is_alive()
    assert gateway.process is not None
    assert gateway.process.returncode == 0
    return reader, took_s


def test_a_stream_that_ends_in_time_is_drained(backend: ScriptedBackend, tmp_path: Path) -> None:
    backend.queue(paced(chat(["word "] * 20), 0.05))
    with GatewayProcess(
        tmp_path, backend_config(backend.base_url) + DRAIN.format(2 * WAIT_S)
    ) as alone:
        reader, took_s = stop_while_reading(alone, "drained")
    assert reader.error is None
    assert reader.body.endswith(b"data: [DONE]\n\n")
    assert reader.body.count(b"word ") == 20
    assert took_s < WAIT_S, "stopping waited for longer than the stream"
    (record,) = spooled(alone.spool)
    assert (record["status"], record["answer"]) == ("finished", "word " * 20)


def test_an_endless_stream_is_ended_after_the_drain_time_and_recorded(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    backend.forget()
    backend.queue(paced(chat(["word "] * 5000), 0.02))
    with GatewayProcess(tmp_path, backend_config(backend.base_url) + DRAIN.format(0.5)) as alone:
        reader, took_s = stop_while_reading(alone, "endless")
    assert took_s > 0.4
    assert b"[DONE]" not in reader.body, "it looked like a whole answer"
    last = reader.body.rstrip().rpartition(b"\n\n")[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "gateway_unavailable"
    assert reader.error is None
    assert backend.wait_hang_up()
    (record,) = spooled(alone.spool)
    assert (record["status"], record["error_type"]) == ("failed", "PartUnavailable")
    assert record["answer"].startswith("word word")


def test_a_request_that_waits_for_its_backend_is_told_so(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    backend.forget()
    backend.queue(before_headers(Stall(), chat()))
    with GatewayProcess(tmp_path, backend_config(backend.base_url) + DRAIN.format(0.3)) as alone:
        told: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: told.append(
                httpx.post(alone.url + CHAT, json=question("wait"), timeout=WAIT_S)
            ),
            daemon=True,
        )
        waiting.start()
        backend.wait_request()
        alone.stop()
        waiting.join(WAIT_S)
    assert error_of(told[0], 503)["code"] == "gateway_unavailable"
    assert told[0].headers["x-should-retry"] == "true"
    assert [r["status"] for r in spooled(alone.spool)] == ["cancelled"]


@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_killed_right_after_an_answer_the_record_is_kept(
    backend: ScriptedBackend, tmp_path: Path, stream: bool
) -> None:
    asked = question("Kept?", stream=stream)
    with GatewayProcess(tmp_path, backend_config(backend.base_url)) as alone:
        response = httpx.post(alone.url + CHAT, json=asked)
        alone.kill()
        trace_id = response.headers["x-request-id"]
        if stream:
            assert text_of(events(response)) == "Hello there, friend."
        record = wait_spooled(alone.spool, lambda r: r["trace_id"] == trace_id, 0)
        assert (record["status"], record["answer"]) == ("finished", "Hello there, friend.")
        # The next gateway on the same folder starts beside it, and what was kept stays.
        alone.start()
        assert httpx.post(alone.url + CHAT, json=question("Again?")).status_code == 200
        kept = [r["messages"][0]["content"] for r in spooled(alone.spool)]
        assert sorted(kept) == ["Again?", "Kept?"]


@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
@pytest.mark.parametrize("when_full", ["serve", "refuse"])
def test_what_a_full_spool_cannot_keep_is_served_or_refused_as_configured(
    tmp_path: Path, when_full: str, stream: bool
) -> None:
    with ScriptedBackend() as backend:
        gateway = GatewayProcess(tmp_path, backend_config(backend.base_url))
        with gateway.config.open("a") as file:  # its last table is [spool]
            file.write(f'max_bytes = 65536\nwhen_full = "{when_full}"\n')
        with gateway:
            body = question("x" * 40_000, stream=stream)
            answers = [httpx.post(gateway.url + CHAT, json=body, timeout=WAIT_S) for _ in range(4)]
            whole = [a.status_code == 200 and '"error"' not in a.text for a in answers]
            assert whole == [True, *[when_full == "serve"] * 3]
            if when_full == "refuse":
                assert "spool_unavailable" in answers[-1].text
                assert "[DONE]" not in answers[-1].text
            assert len([r for r in spooled(gateway.spool) if r["status"] == "finished"]) == 1
            metrics = httpx.get(f"{gateway.url}/metrics").text
            assert "appliance_spool_not_kept_total 3.0" in metrics
