"""A client that leaves cancels its upstream request at once, on every path."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from tests.e2e.asking import CHAT, question
from tests.fakes.actions import Gate, Pause, Stall, after_chunks, before_headers, paced
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.spool_reader import wait_spooled
from tests.fakes.until import WAIT_S, until


def leave_after(
    gateway: GatewayProcess,
    body: dict[str, Any],
    wait: Callable[[], object] = lambda: None,
    heard: bytes = b"",
) -> None:
    """Send a request on a bare socket, wait, listen until `heard` was said, and close it."""
    payload = msgspec.json.encode(body)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(payload)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as line:
        line.sendall(head.encode() + payload)
        wait()
        said = b""
        while heard not in said:
            said += (piece := line.recv(65536))
            assert piece, f"the gateway left first: {said!r}"


@pytest.mark.parametrize(
    ("stream", "heard", "behaviour"),
    [
        (True, b"word", paced(chat(["word "] * 5000), 0.02)),
        (True, b"", after_chunks(0, Stall(), chat())),
        (True, b"", before_headers(Stall(), chat())),
        (False, b"", before_headers(Stall(), chat())),
        (False, b"", before_headers(Pause(300), chat())),
    ],
    ids=["while streaming", "before the first token", "before headers", "once", "once, slow"],
)
def test_client_hang_up_aborts_the_backend_request(
    client: httpx.Client,
    gateway: GatewayProcess,
    backend: ScriptedBackend,
    stream: bool,
    heard: bytes,
    behaviour: Any,
) -> None:
    backend.queue(behaviour)
    text = f"leaving {time.monotonic_ns()}"
    leave_after(gateway, question(text, stream=stream), backend.wait_request, heard)
    gone = backend.wait_hang_up()
    assert gone.finished_at is None
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

        def queued() -> bool:
            told = httpx.get(f"{narrow.url}/metrics", timeout=WAIT_S).text
            return 'appliance_backend_queued{backend="narrow"} 1.0' in told

        left = threading.Event()
        backend.queue(after_chunks(2, Gate(left), chat(["a "] * 20)))
        with httpx.stream("POST", narrow.url + CHAT, json=question(stream=True)) as first:
            lines = first.iter_lines()
            next(lines)
            leave_after(narrow, question("second", stream=True), lambda: until(queued))
            narrow.wait_log("request", outcome="cancelled")
            left.set()
            for _ in lines:
                pass
        answer = httpx.post(narrow.url + CHAT, json=question("third"), timeout=WAIT_S)
        assert answer.status_code == 200
        texts = [r.json["messages"][0]["content"] for r in backend.requests]
        assert texts == ["Hello?", "third"]
