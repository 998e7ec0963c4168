"""A gateway that dies or stops, and one whose PostgreSQL or NATS is away."""

import httpx
import pytest

from tests.e2e.asking import CHAT, error_of
from tests.e2e.asking import question as chat_question
from tests.e2e.responses.asking import ROUTE, ask, get, question, replay, streamed, text_of
from tests.e2e.responses.conftest import State
from tests.fakes.actions import Stall, after_chunks
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

SAID = ["one ", "two ", "three ", "four "]


def stalled() -> object:
    return after_chunks(5, Stall(), chat(SAID))


@pytest.fixture(autouse=True)
def fresh(backend: ScriptedBackend) -> None:
    backend.forget()


def test_kill_9_in_the_middle_loses_nothing_that_was_whole(
    state: State, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    dying = state.start()
    whole = [ask(dying, text=f"whole {n}") for n in range(3)]
    backend.queue(stalled(), stalled())
    background = ask(dying, background=True)
    with streamed(dying) as events:
        seen = [next(events)]
        while seen[-1].get("delta") != "three ":
            seen.append(next(events))
        cut = seen[0]["response"]["id"]
        last = seen[-1]["sequence_number"]
        until(lambda: _has(other, background["id"], "three "))
        until(lambda: _has(other, cut, "three "))
        dying.kill()
    assert [get(other, made["id"]) for made in whole] == whole
    for response_id in (cut, background["id"]):
        until(lambda r=response_id: get(other, r)["status"] == "failed")
        failed = get(other, response_id)
        assert text_of(failed).startswith("one two three ")
        assert failed["error"]["code"] == "server_error"
        ended = replay(other, response_id)
        assert ended[-1]["type"] == "response.failed"
        assert ended[-1]["response"] == failed
    assert replay(other, cut)[: last + 1] == seen
    dying.start()
    assert [get(dying, made["id"]) for made in whole] == whole
    assert get(dying, cut)["status"] == "failed"


def _has(gateway: GatewayProcess, response_id: str, text: str) -> bool:
    """Whether `text` has reached this gateway; ends reading there."""
    url = f"{gateway.url}{ROUTE}/{response_id}"
    with httpx.stream("GET", url, params={"stream": "true"}, timeout=60) as answer:
        return any(f'"delta":"{text}"' in line for line in answer.iter_lines())


def test_a_gateway_that_stops_leaves_no_response_in_progress(
    state: State, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    stopping = state.start()
    backend.queue(stalled(), stalled())
    background = ask(stopping, background=True)
    with streamed(stopping) as events:
        response_id = next(events)["response"]["id"]
        backend.wait_request(2)
        assert stopping.process is not None
        stopping.process.terminate()
        last = list(events)[-1]
    assert last["type"] == "response.failed"
    stopping.stop()
    assert get(other, response_id) == last["response"]
    ended = get(other, background["id"])
    assert ended["status"] == "failed"
    assert "stopping" in ended["error"]["message"]


def test_without_postgresql_answers_come_and_say_that_they_are_not_stored(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "dsn").write_text("host=127.0.0.1 port=1 user=x dbname=x")
    config = f'{backend_config(backend.base_url)}\n[postgres]\ndsn = "file:{folder / "dsn"}"\n'
    with GatewayProcess(folder, config) as alone:
        url = alone.url + ROUTE
        once = httpx.post(url, json=question(), timeout=60)
        assert once.json()["store"] is False
        assert once.headers["x-store"] == "degraded:postgres"
        with httpx.stream("POST", url, json=question(stream=True), timeout=60) as stream:
            assert stream.headers["x-store"] == "degraded:postgres"
            assert '"store":false' in [x for x in stream.iter_lines() if x][-1]
        error_of(httpx.post(url, json=question(background=True), timeout=60), 503)
        continued = question(previous_response_id="resp_x")
        error_of(httpx.post(url, json=continued, timeout=60), 503)
        error_of(httpx.get(f"{url}/resp_x", timeout=60), 503)
        chatted = httpx.post(alone.url + CHAT, json=chat_question(), timeout=60)
        assert chatted.status_code == 200
        assert "x-store" not in chatted.headers


def test_without_nats_responses_are_stored_and_read_when_they_are_whole(
    state: State, one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    state.nats.kill()
    with streamed(one) as events:
        seen = list(events)
    assert seen[-1]["response"]["store"] is True
    assert replay(other, seen[0]["response"]["id"]) == seen
    backend.queue(stalled())
    made = ask(one, background=True)
    answer = httpx.post(f"{other.url}{ROUTE}/{made['id']}/cancel", timeout=60)
    assert answer.json()["status"] == "cancelled"
