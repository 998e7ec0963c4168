"""`appliance forget` and `replay` while the gateway, the consumer and traffic go on."""

import signal
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import question
from tests.fakes.answers import chat
from tests.fakes.pipeline import Pipeline
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

CALL = ("call_1", "look_up", '{"word": "moth"}')
ASKED = {"id": CALL[0], "type": "function", "function": {"name": CALL[1], "arguments": CALL[2]}}
TABLES = ("chat_history", "chat_pairs", "flow_lineage", "tool_calls", "tool_results")


@pytest.fixture
async def pipeline(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, dsn: str
) -> Pipeline:
    backend.script("scripted", chat("the moth", tool_calls=(CALL,)))
    return Pipeline(tmp_path / "rig", backend.base_url, nats_server, dsn)


@pytest.fixture
def running(pipeline: Pipeline) -> Iterator[Pipeline]:
    with pipeline:
        yield pipeline


def turn(conversation: str, text: str) -> dict[str, Any]:
    """A question after the result of the call before it."""
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [ASKED]},
        {"role": "tool", "tool_call_id": CALL[0], "content": f"{text}, the tool says"},
    ]
    return question(x_conversation=conversation) | {"messages": messages}


def kept_of(pipeline: Pipeline, traces: list[str]) -> dict[str, int]:
    """Rows of these exchanges, by table."""
    counts = {t: pipeline.count(t, "trace_id = ANY(%s)", traces) for t in TABLES}
    return {table: count for table, count in counts.items() if count}


class Talk:
    """Turns of one conversation, one after the other, until it is told to stop."""

    def __init__(self, pipeline: Pipeline, conversation: str) -> None:
        self.traces: list[str] = []
        self._pipeline = pipeline
        self._conversation = conversation
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Talk":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()

    def wait(self, more: int) -> None:
        wanted = len(self.traces) + more
        self._pipeline.until(lambda: len(self.traces) >= wanted)

    def _run(self) -> None:
        while not self._stopped.is_set():
            body = turn(self._conversation, f"{self._conversation} {len(self.traces)}")
            self.traces.append(self._pipeline.ask(body | {"stream": len(self.traces) % 2 == 0}))
            self._stopped.wait(0.02)


def test_what_is_forgotten_under_traffic_does_not_come_back_and_what_follows_is_kept(
    running: Pipeline,
) -> None:
    with Talk(running, "Moth") as forgotten, Talk(running, "moth") as other:
        forgotten.wait(10)
        done = list(forgotten.traces)
        told = running.command("forget", "Moth", "--yes", timeout_s=300)
        assert told.returncode == 0, told.stdout + told.stderr
        kept_from = len(forgotten.traces) + 1  # one may be under way
        forgotten.wait(5)
        other.wait(1)
    for trace_id in (*forgotten.traces[kept_from:], *other.traces):
        running.wait_row(trace_id)
    assert not kept_of(running, done)
    assert running.count("tool_calls", "result_trace_id = ANY(%s)", done) == 0
    again = running.command("replay", "--since", "1h", timeout_s=300)
    assert again.returncode == 0, again.stderr
    assert not kept_of(running, done)
    assert running.count("message_contents", "content = 'Moth 0'") == 0
    assert running.count("chat_pairs", "trace_id = ANY(%s)", other.traces) == len(other.traces)
    assert running.count("dead_letters") == 0


def test_an_exchange_asked_while_its_conversation_is_being_forgotten_is_not_lost(
    running: Pipeline, nats_server: NatsServer
) -> None:
    consumer = running.consumer
    assert consumer is not None
    before = running.ask(turn("Moth", "before"))
    running.wait_row(before)
    consumer.stop()
    # Its id is in the database before NATS is asked: that is the moment of forgetting.
    nats_server.signal(signal.SIGSTOP)
    forgetting = running.start_command("forget", "Moth", "--yes")
    digest = sha256(b"Moth").digest()
    running.until(lambda: running.count("forgotten", "digest = %s", digest) == 1)
    after = running.ask(turn("Moth", "after"))
    nats_server.signal(signal.SIGCONT)
    told = forgetting.wait()
    assert told.returncode == 0, told.stdout + told.stderr
    consumer.start()
    running.wait_row(after)
    assert not kept_of(running, [before])


async def test_no_byte_of_what_is_forgotten_is_left_in_spool_or_streams(
    pipeline: Pipeline, nats_server: NatsServer, tmp_path: Path
) -> None:
    large = "moth " * 400_000  # by reference, the chat and the result
    with pipeline:
        traces = [pipeline.ask(turn("Moth", text)) for text in ("a moth", large)]
        kept = pipeline.ask(turn("bee", "a bee"))
        for trace_id in (*traces, kept):
            pipeline.wait_row(trace_id)
        told = pipeline.command("forget", "Moth", "--yes", timeout_s=300)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "payloads in the object store: 2 objects" in told.stdout
        for stream in ("PIPELINE", "TELEMETRY"):
            left = {event["trace_id"] for event in await pipeline.messages(stream)}
            assert left == {kept}
    nats_server.kill()
    files = [f for f in (tmp_path / "nats" / "store").rglob("*") if f.is_file()]
    assert any(b"a bee, the tool says" in file.read_bytes() for file in files)
    for file in files:
        content = file.read_bytes()
        assert b"a moth" not in content
        assert b"moth moth" not in content
