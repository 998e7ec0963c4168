"""Parts die in the middle of work: chat goes on where it can, and every answer becomes one row."""

import signal
import threading
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.fakes.answers import chat
from tests.fakes.appliance import Appliance
from tests.fakes.scripted_backend import ScriptedBackend

ALL_BACK_WITHIN_S = 60


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance before a scripted backend, so that answers are quick and many."""
    with ScriptedBackend() as backend:
        backend.script("scripted", chat())
        folder = tmp_path_factory.mktemp("faults")
        with Appliance(folder, "--backend", backend.base_url) as running:
            yield running


class Traffic:
    """Asks one question after the other, once and streamed in turn, until stopped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered: list[str] = []
        self.failed: list[str] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        count = 0
        with httpx.Client(base_url=self._url, timeout=15) as client:
            while not self._stop.is_set():
                count += 1
                self._ask(client, count)
                time.sleep(0.01)

    def _ask(self, client: httpx.Client, count: int) -> None:
        messages = [{"role": "user", "content": f"question {count}"}]
        body = {"model": "scripted", "messages": messages, "stream": count % 2 == 0}
        try:
            response = client.post("/v1/chat/completions", json=body)
        except httpx.TransportError as exc:
            self.failed.append(repr(exc))
            time.sleep(0.1)
            return
        whole = not body["stream"] or response.text.endswith("data: [DONE]\n\n")
        if response.status_code == 200 and whole:
            self.answered.append(response.headers["x-request-id"])
        else:
            self.failed.append(response.text[-300:])


def pairs(appliance: Appliance, wanted: list[str]) -> dict[str, int]:
    """How many rows each wanted trace has."""
    sql = "SELECT trace_id, count(*) FROM chat_pairs WHERE trace_id = ANY(%s) GROUP BY 1"
    with psycopg.connect(appliance.ready["postgres"], connect_timeout=5) as connection:
        return dict(connection.execute(sql, (wanted,)).fetchall())


def require_one_row_each(appliance: Appliance, answered: list[str]) -> None:
    """Every answered exchange is in chat_pairs exactly once when all is back."""
    assert len(answered) >= 20
    deadline = time.monotonic() + ALL_BACK_WITHIN_S
    found: dict[str, int] = {}
    while time.monotonic() < deadline:
        try:
            found = pairs(appliance, answered)
        except psycopg.OperationalError:
            found = {}
        if len(found) == len(answered):
            break
        time.sleep(0.2)
    missing = set(answered) - set(found)
    assert not missing, f"{len(missing)} of {len(answered)} answers have no row"
    assert set(found.values()) == {1}


@pytest.mark.parametrize("part", ["nats", "postgres", "consumer", "inference"])
def test_a_part_killed_under_load_costs_no_answer_and_no_row(
    appliance: Appliance, part: str
) -> None:
    with Traffic(appliance.url) as traffic:
        time.sleep(0.7)
        pid = appliance.signal(part, signal.SIGKILL)
        appliance.wait_restarted(part, pid)
        time.sleep(0.7)
    assert traffic.failed == []
    require_one_row_each(appliance, traffic.answered)
    assert part in appliance.output, "the restart was said"


@pytest.mark.parametrize("part", ["nats", "postgres", "consumer"])
def test_a_frozen_part_costs_no_answer_and_no_row(appliance: Appliance, part: str) -> None:
    with Traffic(appliance.url) as traffic:
        time.sleep(0.5)
        pid = appliance.signal(part, signal.SIGSTOP)
        time.sleep(3)
        if appliance.ready["pids"][part] == pid:
            appliance.signal(part, signal.SIGCONT)
        time.sleep(0.5)
    assert traffic.failed == []
    require_one_row_each(appliance, traffic.answered)


def test_a_body_near_the_limit_becomes_a_row(appliance: Appliance) -> None:
    message = {"role": "user", "content": "x" * (30 * 1024 * 1024)}
    body = {"model": "scripted", "messages": [message]}
    response = httpx.post(f"{appliance.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200
    trace_id = response.headers["x-request-id"]
    deadline = time.monotonic() + 30
    while not pairs(appliance, [trace_id]):
        assert time.monotonic() < deadline, "no row"
        time.sleep(0.2)


def test_a_killed_gateway_keeps_what_it_answered(appliance: Appliance) -> None:
    with Traffic(appliance.url) as traffic:
        for _ in range(3):
            time.sleep(0.7)
            pid = appliance.signal("gateway", signal.SIGKILL)
            appliance.wait_restarted("gateway", pid)
    appliance.wait_answering()
    require_one_row_each(appliance, traffic.answered)


def test_rag_goes_on_without_its_parts(appliance: Appliance) -> None:
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "with knowledge?"}],
        "x_route": "rag",
    }
    for part in ("inference", "postgres"):
        pid = appliance.signal(part, signal.SIGSTOP)
        begun = time.monotonic()
        response = httpx.post(f"{appliance.url}/v1/chat/completions", json=body, timeout=30)
        took_s = time.monotonic() - begun
        if appliance.ready["pids"][part] == pid:
            appliance.signal(part, signal.SIGCONT)
        assert response.status_code == 200
        assert response.headers["x-rag"] == f"degraded:{part}"
        assert took_s < 5
        time.sleep(1)


def test_state_survives_up_itself_being_killed(appliance: Appliance) -> None:
    with Traffic(appliance.url) as traffic:
        time.sleep(1)
        assert appliance.process is not None
        appliance.process.kill()
        appliance.process.wait(10)
    appliance._ready_file.unlink(missing_ok=True)
    appliance.start()
    require_one_row_each(appliance, traffic.answered)
