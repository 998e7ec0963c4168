"""Turns of a WebSocket of /v1/responses, one after the other."""

import threading
import time

import pytest

from tests.fakes.actions import Gate, Stall, after_chunks, before_headers, paced
from tests.fakes.answers import chat, error_event, openai_error, sse
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.socket_client import Event, SocketClient, create, text_of
from tests.fakes.spool_reader import wait_spooled


def error_of(event: Event, status: int) -> Event:
    """The error of a frame that is one, nested as this mode has it."""
    assert (event["type"], event["status"]) == ("error", status)
    assert set(event["error"]) >= {"type", "code", "message", "param"}
    error: Event = event["error"]
    return error


def test_a_turn_is_the_events_of_a_stream_as_text_frames(socket: SocketClient) -> None:
    socket.send(create())
    events = socket.turn()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    said = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(said) == text_of(events[-1]) == "Hello there, friend."
    assert events[-1]["response"]["store"] is False


def test_the_next_turn_continues_what_only_the_connection_knows(
    socket: SocketClient, backend: ScriptedBackend
) -> None:
    backend.queue(chat("one"), chat("two"), chat("three"))
    first = socket.ask("first")["response"]["id"]
    second = socket.ask("second", previous_response_id=first)["response"]["id"]
    socket.ask("third", previous_response_id=second, instructions="Be brief.")
    asked = [(m["role"], m["content"]) for m in backend.requests[-1].json["messages"]]
    assert asked == [
        ("system", "Be brief."),
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
        ("assistant", "two"),
        ("user", "third"),
    ]


def test_a_turn_without_items_can_be_prepared_and_not_answered(socket: SocketClient) -> None:
    """Codex prepares its connection so for the newest models of OpenAI's."""
    socket.send(create(input=[], generate=False))
    assert socket.turn()[-1]["type"] == "response.completed"
    assert error_of(socket.ask(input=[]), 400)["param"] == "input"


def test_tools_alone_can_be_prepared_for_the_turns_that_follow(
    socket: SocketClient, backend: ScriptedBackend
) -> None:
    weigh = {"type": "function", "name": "weigh"}
    brought = {"type": "additional_tools", "role": "developer", "tools": [weigh]}
    socket.send(create(input=[brought], generate=False))
    prepared = socket.turn()[-1]["response"]
    socket.ask("How heavy?", previous_response_id=prepared["id"])
    (request,) = backend.requests
    assert [tool["function"]["name"] for tool in request.json["tools"]] == ["weigh"]


def test_a_call_of_a_tool_goes_on_with_its_result_alone(
    socket: SocketClient, backend: ScriptedBackend
) -> None:
    backend.queue(chat("", tool_calls=[("call_1", "weigh", '{"what":"tea"}')]), chat("4 g"))
    tool = {"type": "function", "name": "weigh", "parameters": {"type": "object"}}
    called = socket.ask("How heavy?", tools=[tool])["response"]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    last = socket.ask(previous_response_id=called["id"], tools=[tool], input=[result])
    assert text_of(last) == "4 g"
    roles = [m["role"] for m in backend.requests[-1].json["messages"]]
    assert roles == ["user", "assistant", "tool"]


def test_another_connection_does_not_know_it(gateway: GatewayProcess, socket: SocketClient) -> None:
    known = socket.ask()["response"]["id"]
    with SocketClient(gateway.url) as other:
        error = error_of(other.ask(previous_response_id=known), 404)
        assert error["code"] == "previous_response_not_found"
        assert other.ask()["type"] == "response.completed"


@pytest.mark.parametrize("refused_by", ["us", "the backend", "the backend, later"])
def test_a_continuation_that_fails_evicts_what_it_continued(
    socket: SocketClient, backend: ScriptedBackend, refused_by: str
) -> None:
    known = socket.ask()["response"]["id"]
    if refused_by == "us":
        error_of(socket.ask(previous_response_id=known, temperature=9), 400)
    elif refused_by == "the backend":
        backend.queue(openai_error(400, "no", "invalid_request_error"))
        error_of(socket.ask(previous_response_id=known), 400)
    else:
        backend.queue(sse('{"choices":[{"index":0,"delta":{"content":"a"}}]}', error_event().data))
        assert socket.ask(previous_response_id=known)["type"] == "response.failed"
    error = error_of(socket.ask(previous_response_id=known), 404)
    assert error["code"] == "previous_response_not_found"
    assert socket.ask()["type"] == "response.completed"


def test_preparing_a_turn_asks_no_backend(socket: SocketClient, backend: ScriptedBackend) -> None:
    socket.send(create("Be ready.", generate=False))
    events = socket.turn()
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    prepared = events[-1]["response"]
    assert (prepared["output"], prepared["store"]) == ([], False)
    assert not backend.requests
    socket.ask("Now.", previous_response_id=prepared["id"])
    asked = [m["content"] for m in backend.requests[-1].json["messages"]]
    assert asked == ["Be ready.\n\nNow."]


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_frame"),
        (b"\x00\x01", 400, "invalid_frame"),
        ({"type": "response.steer", "input": []}, 400, "unknown_event_type"),
        (create(background=True), 400, None),
        (create(model="nobody"), 404, "model_not_found"),
        (create("x" * 70_000), 413, "request_too_large"),
        ({"type": "response.create"}, 400, None),
    ],
    ids=["no JSON", "no object", "binary", "type", "background", "model", "too large", "empty"],
)
def test_what_cannot_be_served_leaves_the_connection_as_it_is(
    socket: SocketClient, frame: Event | str | bytes, status: int, code: str | None
) -> None:
    socket.send(frame)
    assert error_of(socket.receive(), status)["code"] == code
    assert socket.ask()["type"] == "response.completed"


def test_frames_wait_for_the_turn_that_runs_and_no_more_than_a_few(
    socket: SocketClient, backend: ScriptedBackend
) -> None:
    backend.script("scripted", chat())
    opened = threading.Event()
    backend.queue(after_chunks(3, Gate(opened), chat()))
    socket.send(create("question 0"))
    backend.wait_request()
    for number in range(1, 20):
        socket.send(create(f"question {number}"))
    for _ in range(3):
        assert error_of(socket.turn()[-1], 429)["code"] == "too_many_waiting"
    opened.set()
    assert {socket.turn()[-1]["type"] for _ in range(17)} == {"response.completed"}
    asked = [r.json["messages"][0]["content"] for r in backend.requests]
    assert asked == [f"question {number}" for number in range(17)]


def test_every_frame_says_which_lane_it_belongs_to(socket: SocketClient) -> None:
    socket.send(create(stream_id="left"))
    socket.send(create(stream_id="right", model="nobody"))
    lanes = [event["stream_id"] for event in socket.turn() + socket.turn()]
    assert set(lanes[:-1]) == {"left"}
    assert lanes[-1] == "right"


@pytest.mark.parametrize(
    "behaviour",
    [
        paced(chat(["word "] * 1000), 0.02),
        after_chunks(0, Stall(), chat()),
        before_headers(Stall(), chat()),
    ],
    ids=["while streaming", "before the first token", "before headers"],
)
@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_aborts_the_backend_request(
    gateway: GatewayProcess,
    socket: SocketClient,
    backend: ScriptedBackend,
    behaviour: object,
    politely: bool,
) -> None:
    backend.queue(behaviour)  # type: ignore[arg-type]
    text = f"leaving {time.monotonic_ns()}"
    socket.send(create(text))
    backend.wait_request()
    if politely:
        socket.line.close()
    else:
        socket.line.socket.close()
    backend.wait_hang_up()
    record = wait_spooled(gateway.spool, lambda r: r["messages"][0]["content"] == text)
    assert (record["status"], record["surface"]) == ("cancelled", "openai_responses")


def test_every_turn_is_an_exchange_of_its_own_in_one_thread(
    gateway: GatewayProcess, backend: ScriptedBackend
) -> None:
    correlation = f"thread-{time.monotonic_ns()}"
    with SocketClient(gateway.url, **{"X-Correlation-ID": correlation}) as socket:
        ids = [socket.ask()["response"]["id"] for _ in range(2)]
    connection = gateway.wait_log("request", correlation_id=correlation, status=101)
    traces = [i.removeprefix("resp_") for i in ids]
    assert len({*traces, connection["trace_id"]}) == 3
    for trace_id in traces:
        line = gateway.wait_log("request", trace_id=trace_id)
        assert (line["method"], line["status"], line["outcome"]) == ("WEBSOCKET", 200, "finished")
        assert line["correlation_id"] == correlation
        record = wait_spooled(gateway.spool, lambda r, t=trace_id: r["trace_id"] == t)  # type: ignore[misc]
        assert record["correlation_id"] == correlation
