"""A backend that dies is passed by, and comes back."""

import time
from pathlib import Path

import httpx

from tests.e2e.asking import CHAT, question
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import WAIT_S

CONFIG = """
[routing]
retries = 0
eject_after = 2
eject_s = 5.0
probe_interval_s = 0.2
[[backends]]
name = "first"
kind = "openai-compatible"
base_url = "{first}"
[[backends]]
name = "spare"
kind = "openai-compatible"
base_url = "{spare}"
[[models]]
match = "scripted"
backend = "first"
fallback = ["spare"]
"""


def ask(client: httpx.Client) -> httpx.Response:
    response = client.post(CHAT, json=question())
    assert response.status_code == 200, response.text
    return response


def until(client: httpx.Client, backend: str) -> httpx.Response:
    deadline = time.monotonic() + WAIT_S
    while (response := ask(client)).headers["x-selected-backend"] != backend:
        assert time.monotonic() < deadline, f"{backend} did not answer within {WAIT_S} s"
        time.sleep(0.05)
    return response


def test_a_dead_backend_is_passed_by_and_returns(tmp_path: Path) -> None:
    with ScriptedBackend() as first, ScriptedBackend() as spare:
        first.script("scripted", chat("from the first"))
        spare.script("scripted", chat("from the spare"))
        config = CONFIG.format(first=first.base_url, spare=spare.base_url)
        with (
            GatewayProcess(tmp_path, config) as gateway,
            httpx.Client(base_url=gateway.url, timeout=60) as client,
        ):
            assert ask(client).headers["x-selected-backend"] == "first"
            first.stop()
            passed_by = until(client, "spare")
            ejected = gateway.wait_log("backend_ejected", backend="first")
            assert ejected["failures"] >= 2
            passed_by = ask(client)
            assert "first is ejected" in passed_by.headers["x-router-reason"]
            ready = client.get("/ready").json()
            assert ready["backends"]["spare"] == "ok"
            assert ready["backends"]["first"] != "ok"
            gauge = 'appliance_backend_ejected{backend="first"} 1.0'
            assert gauge in client.get("/metrics").text
            first.start()
            assert until(client, "first").status_code == 200
            gateway.wait_log("backend_returned", backend="first")


def test_the_only_backend_is_asked_however_often_it_failed(tmp_path: Path) -> None:
    with ScriptedBackend() as first:
        config = CONFIG.format(first=first.base_url, spare="http://127.0.0.1:9/v1")
        config = config.replace('fallback = ["spare"]', "")
        with (
            GatewayProcess(tmp_path, config) as gateway,
            httpx.Client(base_url=gateway.url, timeout=60) as client,
        ):
            ask(client)
            first.stop()
            assert {client.post(CHAT, json=question()).status_code for _ in range(5)} == {502}
            first.start()
            assert ask(client).headers["x-selected-backend"] == "first"
