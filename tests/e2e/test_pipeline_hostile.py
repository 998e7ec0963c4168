"""Hostile and huge values from a client, a backend and a stranger at the stream: each becomes its
row, or a letter that says why, and nothing behind it waits."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import nats
import pytest

from tests.e2e.asking import CHAT, error_of, question
from tests.fakes.answers import chat, reply_json
from tests.fakes.inference import ScriptedInference
from tests.fakes.pipeline import Pipeline
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

MIB = 1024 * 1024
ENVELOPE = {
    "event_id": "mine",
    "trace_id": "mine",
    "correlation_id": "C",
    "conversation_id": "V",
    "occurred_at": "2026-11-21T14:27:01Z",
    "schema": "none of ours",
    "host": "elsewhere",
    "status": "finished",
    "http_status": 200,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path_factory.mktemp("nats"), 8 * MIB)
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory,
    backend: ScriptedBackend,
    server: NatsServer,
    postgres_cluster: Cluster,
    migrated: str,
) -> Iterator[Pipeline]:
    dsn = postgres_cluster.create_database(migrated)
    with ScriptedInference() as inference:
        tables = f'[inference]\nurl = "{inference.url}"\n'
        folder = tmp_path_factory.mktemp("hostile")
        with Pipeline(folder, backend.base_url, server, dsn, tables=tables) as running:
            yield running


@pytest.fixture(autouse=True)
def no_letters(pipeline: Pipeline, backend: ScriptedBackend) -> None:
    backend.forget()
    pipeline.execute("DELETE FROM dead_letters")


def published(server: NatsServer, messages: Sequence[tuple[str, bytes, str]]) -> None:
    """Put (subject, data, message id) into PIPELINE, as anybody with the token can."""

    async def act() -> None:
        client = await nats.connect(server.config.url, token=server.config.token)
        for subject, data, name in messages:
            headers = {"Nats-Msg-Id": name} if name else None
            await client.jetstream().publish(f"pipeline.knowledge.{subject}", data, headers=headers)
        await client.close()

    asyncio.run(act())


@pytest.mark.parametrize("count", [2**63, 10**20, 2**31, -1, "many", True, None])
def test_an_answer_is_kept_whatever_its_backend_counts(
    pipeline: Pipeline, backend: ScriptedBackend, count: object
) -> None:
    message = {"role": "assistant", "content": "x"}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": count, "completion_tokens": 3, "total_tokens": 4}
    backend.queue(reply_json(200, {"model": "m", "choices": [choice], "usage": usage}))
    row = pipeline.wait_row(pipeline.ask(question()))
    assert (row["detail"]["input_tokens"], row["detail"]["output_tokens"]) == (None, 3)


@pytest.mark.parametrize("count", [2**63, "many"])
def test_embeddings_are_kept_whatever_their_backend_counts(
    pipeline: Pipeline, backend: ScriptedBackend, count: object
) -> None:
    data = [{"index": 0, "embedding": [0.6, 0.8]}]
    backend.queue(reply_json(200, {"data": data, "usage": {"prompt_tokens": count}}))
    trace_id = pipeline.ask({"model": "scripted", "input": "x"}, "/v1/embeddings")
    pipeline.until(lambda: bool(pipeline.of("embedding_events", trace_id)), pipeline.letters)
    (row,) = pipeline.of("embedding_events", trace_id)
    assert (row["input_tokens"], row["dimensions"]) == (None, 2)


def test_dimensions_no_model_has_are_refused_and_leave_no_letter(pipeline: Pipeline) -> None:
    body = {"input": "x", "dimensions": 2**31}
    error_of(pipeline.post(body, "/v1/embeddings"), 400)
    body = {"input": "x", "dimensions": 2**20}
    refused = pipeline.post(body, "/v1/embeddings")
    error_of(refused, 400)
    trace_id = refused.headers["x-request-id"]
    pipeline.until(lambda: bool(pipeline.of("embedding_events", trace_id)), pipeline.letters)
    assert not pipeline.letters()


def test_texts_that_databases_and_terminals_choke_on_come_back_as_they_were(
    pipeline: Pipeline, backend: ScriptedBackend
) -> None:
    text = "\u202eabc\u2066\ufeff\uffff\U0010ffff\x1b[31m'; DROP TABLE chat_pairs; --%s{0}"
    call = ("a\0b", "f", '{"x": "\\u0000\\u202e"}')
    backend.queue(chat(f"x\0{text}", tool_calls=[call]))
    trace_id = pipeline.ask(question(f"a\0{text}", user="n\0"))
    pipeline.wait_row(trace_id)
    (pair,) = pipeline.of("chat_pairs", trace_id)
    assert (pair["prompt"], pair["response"]) == (f"a\ufffd{text}", f"x\ufffd{text}")
    pipeline.until(lambda: bool(pipeline.of("tool_calls", trace_id)), pipeline.letters)
    (row,) = pipeline.of("tool_calls", trace_id)
    assert (row["call_id"], row["arguments"]) == ("a\ufffdb", call[2])
    told = pipeline.command("trace", trace_id)
    assert told.returncode == 0
    assert "\x1b" not in told.stdout


@pytest.mark.parametrize("text", ['"a\\ud800"', '"\\udc00b"', "1e400", "[" * 5000 + "]" * 5000])
def test_json_that_is_none_is_refused_before_anything_is_kept(
    pipeline: Pipeline, text: str
) -> None:
    body = f'{{"model":"scripted","messages":[{{"role":"user","content":"x","y":{text}}}]}}'
    headers = {"content-type": "application/json"}
    refused = httpx.post(pipeline.gateway.url + CHAT, content=body, headers=headers)
    error_of(refused, 400)


@pytest.mark.parametrize("ids", [("", ""), ("same", "same"), ("x" * 5000, "y" * 5000)])
def test_calls_whatever_their_ids_are_a_row_each(
    pipeline: Pipeline, backend: ScriptedBackend, ids: tuple[str, str]
) -> None:
    backend.queue(chat((), tool_calls=[(ids[0], "f", "{}"), (ids[1], "f", "{}")]))
    trace_id = pipeline.ask(question())
    pipeline.until(lambda: len(pipeline.of("tool_calls", trace_id)) == 2, pipeline.letters)


def test_two_thousand_calls_and_their_results_are_rows_linked_to_each_other(
    pipeline: Pipeline, backend: ScriptedBackend
) -> None:
    calls = [(f"c{n}", "f", f'{{"x": {n}}}') for n in range(2000)]
    backend.queue(chat((), tool_calls=calls), chat("done"))
    asked = pipeline.ask(question())
    told = [
        {"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": told},
        *({"role": "tool", "tool_call_id": i, "content": f"of {i}"} for i, _, _ in calls),
    ]
    pipeline.ask({"model": "scripted", "messages": messages})
    where = "trace_id = %s AND result = 'of ' || call_id"
    pipeline.until(lambda: pipeline.count("tool_calls", where, asked) == 2000, pipeline.letters, 60)


def test_ten_thousand_messages_are_ten_thousand_rows(pipeline: Pipeline) -> None:
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"m{n}"} for n in range(9999)]
    trace_id = pipeline.ask({"model": "scripted", "messages": messages})
    pipeline.wait_row(trace_id)
    assert pipeline.count("chat_history", "trace_id = %s", trace_id) == 10_000


def test_thirty_mebibytes_asked_and_answered_are_kept_whole(
    pipeline: Pipeline, backend: ScriptedBackend
) -> None:
    backend.queue(chat(["y" * MIB] * 30))
    trace_id = pipeline.ask(question("x" * 30 * MIB, stream=True))
    pipeline.wait_row(trace_id, 60)
    sizes = "SELECT length(prompt) AS asked, length(response) AS said FROM chat_pairs"
    rows = pipeline.rows(f"{sizes} WHERE trace_id = %s", trace_id)
    assert rows == [{"asked": 30 * MIB, "said": 30 * MIB}]


def test_conversations_that_differ_in_case_alone_are_two(pipeline: Pipeline) -> None:
    longest = "A" + "a:@/+-=._0" * 12 + "1234567"
    for conversation in (longest, longest.lower()):
        pipeline.wait_row(pipeline.ask(question(x_conversation=conversation)))
        assert pipeline.count("chat_pairs", "conversation_id = %s", conversation) == 1
    error_of(pipeline.post(question(x_conversation=longest + "8")), 400)


def test_events_of_a_stranger_are_letters_with_a_reason_and_hold_up_nothing(
    pipeline: Pipeline, server: NatsServer
) -> None:
    def event(**fields: Any) -> bytes:
        return json.dumps(ENVELOPE | fields).encode()

    nameless = {name: value for name, value in ENVELOPE.items() if name != "event_id"}
    sql = "'; DROP TABLE dead_letters; -- %s %(id)s {0}"
    published(
        server,
        [
            ("chat.persist", b"not json", "not-json"),
            ("chat.persist", b"", "empty"),
            ("chat.persist", b"[" * 7_000_000, "nested"),
            ("flow.lineage", b'{"nodes":' * 900 + b"1" + b"}" * 900, "deep"),
            ("chat.persist", json.dumps(nameless).encode(), "nameless"),
            ("chat.persist", event(http_status="200"), "wrong-type"),
            ("chat.persist", event(occurred_at="some day"), "no-time"),
            ("tool_call", event(kind="other"), "other-kind"),
            ("compose", b"[]", f"{sql}\x0b:x"),
            ("chat.persist", event(trace_id=sql), ""),
        ],
    )
    pipeline.wait_row(pipeline.ask(question("still there?")))
    wanted = {"not-json", "empty", "nested", "deep", "nameless", "wrong-type", "no-time"}
    wanted |= {"other-kind", f"{sql}\x0b:x"}

    def found() -> set[str]:
        return {name for name, _ in pipeline.letters()}

    pipeline.until(lambda: found() >= wanted, lambda: f"no letter: {wanted - found()}")
    assert all(reason for _, reason in pipeline.letters())
    assert pipeline.count("chat_pairs", "trace_id = %s", sql) == 1
    listed = pipeline.command("dead-letters", "list")
    assert listed.returncode == 0
    assert "wrong-type" in listed.stdout
    assert "\x0b" not in listed.stdout
    for row in pipeline.rows("SELECT id FROM dead_letters"):
        shown = pipeline.command("dead-letters", "show", str(row["id"]))
        assert shown.returncode == 0, shown.stderr
    again = pipeline.command("dead-letters", "replay", "--all")
    assert again.returncode == 1
    assert "0 letters removed" in again.stdout


def test_a_letter_is_written_once_what_was_in_its_way_is_gone(pipeline: Pipeline) -> None:
    pipeline.execute("ALTER TABLE chat_pairs ADD CONSTRAINT no CHECK (prompt <> 'refused')")
    trace_id = pipeline.ask(question("refused"))
    pipeline.until(lambda: bool(pipeline.letters()))
    ((name, reason),) = pipeline.letters()
    assert name == f"{trace_id}:pipeline.knowledge.chat.persist"
    assert "CheckViolation" in reason
    pipeline.execute("ALTER TABLE chat_pairs DROP CONSTRAINT no")
    done = pipeline.command("dead-letters", "replay", "--all")
    assert done.returncode == 0, done.stderr
    pipeline.wait_row(trace_id)
    assert not pipeline.letters()
