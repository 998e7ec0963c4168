"""Two gateways and two consumers on one NATS and one database."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.asking import question
from tests.fakes.answers import chat
from tests.fakes.pipeline import Pipeline
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

CONVERSATIONS, TURNS = 6, 20


@pytest.fixture
def pair(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, dsn: str
) -> Iterator[Pipeline]:
    backend.forget()
    backend.script("scripted", chat())
    made = Pipeline(tmp_path / "rig", backend.base_url, nats_server, dsn, gateways=2, consumers=2)
    with made as running:
        yield running


def require_once(pair: Pipeline, traces: list[str]) -> None:
    """Every exchange has its rows, and no other ones are there."""
    pair.until(lambda: pair.count("chat_pairs") >= len(traces), lambda: pair.letters())
    pair.until(lambda: pair.count("flow_lineage", "node_id = 'answer'") >= len(traces))
    assert len(set(traces)) == len(traces)
    for table in ("chat_pairs", "chat_history", "flow_lineage"):
        found = pair.rows(f"SELECT DISTINCT trace_id FROM {table}")
        assert {row["trace_id"] for row in found} == set(traces)
    assert pair.count("chat_pairs") == len(traces)
    assert pair.count("chat_history") == 2 * len(traces)
    assert not pair.letters()


def test_conversations_that_alternate_between_two_gateways_are_kept_once_and_in_time(
    pair: Pipeline,
) -> None:
    def talk(number: int) -> list[str]:
        return [
            pair.ask(
                question(f"{turn}", x_conversation=f"c{number}", stream=turn % 3 == 0),
                gateway=turn % 2,
            )
            for turn in range(TURNS)
        ]

    with ThreadPoolExecutor(CONVERSATIONS) as talking:
        asked = list(talking.map(talk, range(CONVERSATIONS)))
    require_once(pair, [trace_id for traces in asked for trace_id in traces])
    for number, traces in enumerate(asked):
        where = "conversation_id = %s AND detail IS NOT NULL"
        rows = pair.rows(f"SELECT * FROM chat_history WHERE {where}", f"c{number}")
        by_time = [row["trace_id"] for row in sorted(rows, key=lambda row: row["created_at"])]
        assert by_time == traces
        for gateway in (0, 1):  # what one gateway answered is in the stream in that order
            own = [r for r in rows if r["trace_id"] in traces[gateway::2]]
            own.sort(key=lambda row: row["stream_sequence"])
            assert [row["trace_id"] for row in own] == traces[gateway::2]


def test_a_call_through_one_gateway_and_its_result_through_the_other_find_each_other(
    pair: Pipeline, backend: ScriptedBackend
) -> None:
    calls = {}
    for number in range(8):  # with the id that many servers give every first call
        arguments = f'{{"n": {number}}}'
        backend.queue(chat((), tool_calls=[("call_0", "look", arguments)]), chat("done"))
        calls[arguments] = pair.ask(question("look"), gateway=number % 2)
        function = {"name": "look", "arguments": arguments}
        messages = [
            {"role": "user", "content": "look"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_0", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "call_0", "content": f"found {number}"},
        ]
        pair.ask({"model": "scripted", "messages": messages}, gateway=1 - number % 2)
    pair.until(lambda: pair.count("tool_calls", "result IS NOT NULL") == 8)
    rows = pair.rows("SELECT * FROM tool_calls ORDER BY arguments")
    assert [(row["arguments"], row["result"]) for row in rows] == [
        (f'{{"n": {number}}}', f"found {number}") for number in range(8)
    ]
    assert {row["arguments"]: row["trace_id"] for row in rows} == calls


def test_replays_beside_two_consumers_and_traffic_write_nothing_twice(pair: Pipeline) -> None:
    stopped = threading.Event()
    asked: list[str] = []

    def traffic() -> None:
        while not stopped.is_set():
            asked.append(pair.ask(question(f"{len(asked)}"), gateway=len(asked) % 2))

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        pair.until(lambda: len(asked) >= 20)
        replays = [pair.start_command("replay", "--since", "1h") for _ in range(2)]
        for replay in replays:
            done = replay.wait(120)
            assert done.returncode == 0, done.stderr
            assert "already there" in done.stdout
    finally:
        stopped.set()
        thread.join()
    require_once(pair, asked)


def test_one_consumer_that_is_killed_leaves_its_work_to_the_other(pair: Pipeline) -> None:
    with ThreadPoolExecutor(4) as asking:
        due = [asking.submit(pair.ask, question(f"{n}"), gateway=n % 2) for n in range(60)]
        due[20].result()
        pair.consumers[0].stop(9)
        traces = [future.result() for future in due]
    require_once(pair, traces)
