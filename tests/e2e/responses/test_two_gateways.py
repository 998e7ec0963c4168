"""What one gateway produces, any other one serves, also while it is produced."""

from threading import Event

import httpx
import pytest

from tests.e2e.asking import error_of
from tests.e2e.responses.asking import (
    ROUTE,
    ask,
    get,
    replay,
    replayed,
    streamed,
    text_of,
)
from tests.fakes.actions import Gate, Stall, after_chunks
from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

WORDS = [f"word{n} " for n in range(30)]


def stalled() -> object:
    return after_chunks(3, Stall(), chat(WORDS))


@pytest.fixture(autouse=True)
def fresh(backend: ScriptedBackend) -> None:
    backend.forget()


def test_a_stored_response_is_the_same_everywhere(
    one: GatewayProcess, other: GatewayProcess
) -> None:
    made = ask(one)
    assert (made["status"], made["store"]) == ("completed", True)
    assert get(one, made["id"]) == get(other, made["id"]) == made
    assert replay(one, made["id"]) == replay(other, made["id"])
    items = httpx.get(f"{other.url}{ROUTE}/{made['id']}/input_items").json()["data"]
    assert items[0]["content"][0]["text"] == "Hello?"


def test_a_stream_that_is_read_again_is_the_same(
    one: GatewayProcess, other: GatewayProcess
) -> None:
    with streamed(one) as events:
        seen = list(events)
    response_id = seen[-1]["response"]["id"]
    assert seen[-1]["type"] == "response.completed"
    assert replay(other, response_id) == seen
    assert replay(other, response_id, 3) == seen[4:]
    assert replay(other, response_id, 1000) == []


def test_another_gateway_continues_a_conversation(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    first = ask(one, text="first")
    second = ask(other, text="second", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    said = [m["content"] for m in backend.requests[-1].json["messages"]]
    assert said == ["first", text_of(first), "second"]


@pytest.mark.parametrize("background", [False, True])
def test_it_is_followed_while_another_gateway_produces_it(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend, background: bool
) -> None:
    opened = Event()
    backend.queue(after_chunks(3, Gate(opened), chat(WORDS)))
    with streamed(one, background=background) as events:
        seen = [next(events)]
        response_id = seen[0]["response"]["id"]
        with replayed(other, response_id, 2) as follower:
            assert next(follower)["sequence_number"] == 3
            assert get(other, response_id)["status"] == "in_progress"
            opened.set()
            followed = [3, *(event["sequence_number"] for event in follower)]
        seen += events
    assert seen[-1]["type"] == "response.completed"
    assert followed == [event["sequence_number"] for event in seen[3:]]


def test_another_gateway_cancels_it(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(stalled())
    made = ask(one, background=True)
    assert made["status"] == "queued"
    with replayed(other, made["id"]) as follower:
        until(lambda: next(follower)["type"] == "response.output_text.delta")
        answer = httpx.post(f"{other.url}{ROUTE}/{made['id']}/cancel", timeout=60)
        left = list(follower)
    assert answer.json()["status"] == left[-1]["response"]["status"] == "cancelled"
    assert get(one, made["id"]) == get(other, made["id"]) == answer.json()
    assert text_of(answer.json())
    backend.wait_hang_up()


def test_one_that_is_whole_is_not_cancelled_any_more(
    one: GatewayProcess, other: GatewayProcess
) -> None:
    made = ask(one, background=True)
    until(lambda: get(other, made["id"])["status"] == "completed")
    answer = httpx.post(f"{other.url}{ROUTE}/{made['id']}/cancel", timeout=60)
    assert answer.json() == get(one, made["id"])


def test_one_that_is_not_in_the_background_cannot_be_cancelled(
    one: GatewayProcess, other: GatewayProcess
) -> None:
    made = ask(one)
    for gateway in (one, other):
        answer = httpx.post(f"{gateway.url}{ROUTE}/{made['id']}/cancel", timeout=60)
        error_of(answer, 400)


def test_a_client_that_hangs_up_ends_the_answer_and_leaves_a_cancelled_response(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(stalled())
    with streamed(one) as events:
        response_id = next(events)["response"]["id"]
        backend.wait_request()
    backend.wait_hang_up()
    until(lambda: get(other, response_id)["status"] == "cancelled")
    line = one.wait_log("request", trace_id=response_id.removeprefix("resp_"))
    assert line["outcome"] == "cancelled"


def test_a_reader_that_hangs_up_is_noticed_and_ends_nothing(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(stalled())
    made = ask(one, background=True)
    path = f"{ROUTE}/{made['id']}"
    for gateway in (one, other):
        with replayed(gateway, made["id"]) as follower:
            next(follower)
        gateway.wait_log("request", method="GET", path=path)
    assert get(other, made["id"])["status"] == "in_progress"
    httpx.post(f"{one.url}{path}/cancel", timeout=60)


def test_a_deleted_response_is_nowhere(
    one: GatewayProcess, other: GatewayProcess, backend: ScriptedBackend
) -> None:
    made = ask(one)
    backend.queue(stalled())
    running = ask(one, background=True)
    backend.wait_request(2)
    for response_id in (made["id"], running["id"]):
        answer = httpx.delete(f"{other.url}{ROUTE}/{response_id}")
        assert answer.json() == {"id": response_id, "object": "response", "deleted": True}
        until(lambda r=response_id: "error" in get(one, r))
        for gateway in (one, other):
            path = f"{gateway.url}{ROUTE}/{response_id}"
            for asked in (httpx.get(path), httpx.delete(path), httpx.get(f"{path}/input_items")):
                error_of(asked, 404)
    backend.wait_hang_up()


@pytest.mark.parametrize("query", ["stream=true&starting_after=x", "stream=yes"])
def test_a_query_that_cannot_be_meant_is_refused(one: GatewayProcess, query: str) -> None:
    made = ask(one)
    error_of(httpx.get(f"{one.url}{ROUTE}/{made['id']}?{query}"), 400)


def test_what_was_not_to_be_stored_is_not(one: GatewayProcess) -> None:
    made = ask(one, store=False)
    assert made["store"] is False
    error_of(httpx.get(f"{one.url}{ROUTE}/{made['id']}"), 404)
