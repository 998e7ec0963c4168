"""A client that leaves cancels its upstream request at once, on every path."""

import socket
import time
from typing import Any

import httpx
import msgspec
import pytest

from tests.e2e.asking import CHAT, question
from tests.fakes.actions import Pause, Stall, after_chunks, before_headers, paced
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled

AT_ONCE_S = 0.5


def leave_after(gateway: GatewayProcess, body: dict[str, Any], seconds: float) -> float:
    """Send a request on a bare socket, wait, and close it; the moment of leaving."""
    payload = msgspec.json.encode(body)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(payload)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as line:
        line.sendall(head.encode() + payload)
        time.sleep(seconds)
    return time.monotonic()


@pytest.mark.parametrize(
    ("stream", "behaviour"),
    [
        (True, paced(chat(["word "] * 200), 0.02)),
        (True, after_chunks(0, Stall(), chat())),
        (True, before_headers(Stall(), chat())),
        (False, before_headers(Stall(), chat())),
        (False, before_headers(Pause(5), chat())),
    ],
    ids=["while streaming", "before the first token", "before headers", "once", "once, slow"],
)
def test_client_hang_up_aborts_the_backend_request(
    client: httpx.Client,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    stream: bool,
    behaviour: Any,
) -> None:
    backend.queue(behaviour)
    text = f"leaving {time.monotonic_ns()}"
    left_at = leave_after(gateway, question(text, stream=stream), 0.3)
    gone = backend.wait_hang_up(timeout_s=3)
    assert gone.hung_up_at is not None
    assert gone.hung_up_at - left_at < AT_ONCE_S
    record = wait_spooled(gateway.spool, lambda r: r["messages"][0]["content"] == text)
    assert record["status"] == "cancelled"
    line = gateway.wait_log("request", trace_id=record["trace_id"])
    assert line["outcome"] == "cancelled"


def test_a_request_that_waits_for_a_slot_leaves_the_queue(
    client: httpx.Client, backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = f"""
[[backends]]
name = "narrow"
kind = "openai-compatible"
base_url = "{backend.base_url}"
max_in_flight = 1
[routing]
default_backend = "narrow"
"""
    with GatewayProcess(tmp_path_factory.mktemp("narrow"), config) as narrow:
        backend.queue(paced(chat(["a "] * 20), 0.05))
        with httpx.stream("POST", narrow.url + CHAT, json=question(stream=True)) as first:
            lines = first.iter_lines()
            next(lines)
            leave_after(narrow, question("second", stream=True), 0.2)
            for _ in lines:
                pass
        answer = httpx.post(narrow.url + CHAT, json=question("third"), timeout=10)
        assert answer.status_code == 200
        texts = [r.json["messages"][0]["content"] for r in backend.requests]
        assert texts == ["Hello?", "third"]
