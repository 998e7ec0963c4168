"""`appliance up` for real: embedded PostgreSQL, NATS, llama.cpp and every role."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.fakes.appliance import Appliance
from tests.fakes.ports import free_port
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import WAIT_S

PARTS = {"gateway", "inference", "consumer", "nats", "postgres", "llm"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp("up")) as running:
        yield running


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    """`appliance WORDS`, finished."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def until(condition: Callable[[], bool], up: Appliance, timeout_s: float = WAIT_S) -> None:
    """Wait for `condition`; AssertionError with the output of `up` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, up.output
        time.sleep(0.02)


def all_well(up: Appliance) -> bool:
    try:
        return bool(httpx.get(f"{up.url}/ready", timeout=60).json()["status"] == "ready")
    except httpx.TransportError:
        return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def chat(url: str) -> httpx.Response:
    body = {"model": "auto", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)


def pairs(up: Appliance) -> int:
    with psycopg.connect(up.ready["postgres"]) as database:
        row = database.execute("SELECT count(*) FROM chat_pairs").fetchone()
    assert row is not None
    return int(row[0])


def test_the_ready_file_names_every_part(up: Appliance) -> None:
    ready = up.ready
    assert (up.state.parent / "ready.json").stat().st_mode & 0o777 == 0o600
    assert up.state.stat().st_mode & 0o777 == 0o700
    assert set(ready) == {
        *("gateway", "inference", "nats", "postgres", "metrics", "dagster", "pids"),
    }
    assert ready["gateway"] == up.url
    assert ready["metrics"] == f"{up.url}/metrics"
    assert ready["dagster"] is None
    assert set(ready["pids"]) == PARTS
    assert all(os.getsid(pid) == pid for pid in ready["pids"].values())
    assert httpx.get(f"{up.url}/ready").json()["status"] == "ready"


def test_it_answers_and_says_where_an_answer_comes_from(up: Appliance, tmp_path: Path) -> None:
    (tmp_path / "garage.md").write_text("The bicycle stands in the garage behind the blue door.")
    assert up.command("ingest", str(tmp_path / "garage.md")).returncode == 0
    options = ("--route", "rag", "--max-tokens", "24")
    asked = up.command("ask", "Where is the bicycle?", *options, timeout_s=120)
    assert asked.returncode == 0, asked.stderr
    assert re.search(r"garage\.md +chunk 0 +score 0\.\d\d", asked.stdout)
    assert re.search(r"^trace +\S+$", asked.stdout, re.MULTILINE)


def test_status_and_doctor_find_every_part_healthy(up: Appliance, tmp_path: Path) -> None:
    status = up.command("status")
    assert status.returncode == 0, status.stdout
    assert all(re.search(rf"^{part} +\d+ +healthy", status.stdout, re.MULTILINE) for part in PARTS)
    doctor = up.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert command("status", "--state", str(tmp_path)).returncode == 3


def test_the_consumer_serves_its_health_and_metrics_where_the_parts_file_says(
    up: Appliance,
) -> None:
    consumer = json.loads((up.state / "parts.json").read_text())["consumer"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", consumer)
    assert re.search(rf"^consumer +\d+ +healthy +{consumer}$", up.command("status").stdout, re.M)
    assert httpx.get(f"{consumer}/healthz").status_code == 200
    until(lambda: httpx.get(f"{consumer}/ready").status_code == 200, up)
    metrics = httpx.get(f"{consumer}/metrics").text
    assert 'appliance_consumer_events_total{durable="chat_persist",outcome="written"}' in metrics


def test_a_second_one_at_the_same_time_is_refused(up: Appliance) -> None:
    assert up.process is not None
    second = command("up", "--state", str(up.state), "--listen", f"127.0.0.1:{free_port()}")
    assert second.returncode == 1
    assert f"already running on the state folder {up.state} (pid {up.process.pid})" in second.stderr


def test_a_port_in_use_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        refused = command("up", "--state", str(tmp_path / "s"), "--listen", f"127.0.0.1:{port}")
    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
    assert not (tmp_path / "s").exists()


def test_a_bad_configuration_is_said_before_anything_is_made(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("[gateway]\nlissten = 'x'\n")
    listen = f"127.0.0.1:{free_port()}"
    words = ("--state", str(tmp_path / "s"), "--listen", listen, "--config", str(file))
    refused = command("up", *words)
    assert refused.returncode == 1
    assert "[gateway]" in refused.stderr
    assert "lissten" in refused.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_that_is_killed_comes_back_on_its_address(up: Appliance, part: str) -> None:
    before = up.ready
    up.wait_restarted(part, up.signal(part, signal.SIGKILL))
    until(lambda: f"  {part:<12} is back" in up.output, up)
    until(lambda: all_well(up), up)
    assert up.ready | {"pids": None} == before | {"pids": None}
    assert f"  {part:<12} died (signal SIGKILL): restarting in " in up.output
    assert chat(up.url).status_code == 200


def test_killed_with_everything_it_starts_again_with_its_data(tmp_path: Path) -> None:
    up = Appliance(tmp_path)
    up.start()
    try:
        assert chat(up.url).status_code == 200
        until(lambda: pairs(up) == 1, up)
        pids = up.ready["pids"].values()
        assert up.process is not None
        up.process.kill()
        up.process.wait()
        until(lambda: not any(map(alive, pids)), up)
        (tmp_path / "ready.json").unlink()

        up.start()
        assert pairs(up) == 1
        assert up.command("stop").returncode == 0
        assert up.process.wait(WAIT_S) == 0
        assert not (tmp_path / "ready.json").exists()
        assert not (up.state / "parts.json").exists()
    finally:
        up.stop()


def test_the_first_question_is_answered_and_ctrl_c_stops_in_reverse(tmp_path: Path) -> None:
    words = ["up", "--state", str(tmp_path / "s"), "--listen", f"127.0.0.1:{free_port()}"]
    words += ["--without", "dagster"]
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *words, "--no-discover"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith("Ctrl-C stops everything."):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    text = "\n".join(said)
    assert "sources\n  welcome.md  chunk 0" in text
    assert re.search(r"^trace +\S+$", text, re.MULTILINE)
    stopped = re.findall(r"^ +(\w+) +stopped in", text, re.MULTILINE)
    assert stopped == ["gateway", "consumer", "inference", "llm", "nats", "postgres"]


def test_with_a_backend_of_ones_own_no_model_is_started(
    tmp_path: Path, backend: ScriptedBackend
) -> None:
    with Appliance(tmp_path, "--backend", f"127.0.0.1:{backend.port}") as up:
        assert set(up.ready["pids"]) == PARTS - {"llm"}
        assert chat(up.url).headers["x-selected-backend"] == "yours"
