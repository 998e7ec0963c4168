"""`appliance trace` as a user runs it, with events at each place on their way."""

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.js.api import ConsumerConfig

from appliance.config.schema import SpoolConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.delivery import Delivery, Rejected
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.exchange import Embedding, Exchange, Returned
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.tool_call import TOOL_CALL
from appliance.infra.nats.objects import Payloads
from appliance.infra.nats.reader.range import Stored, StreamReader, visit
from appliance.infra.nats.streams import ensure_streams
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from appliance.infra.spool.poison import PoisonFile
from appliance.infra.spool.spool import Spool
from tests.fakes.flows import flow
from tests.fakes.kept_events import Kept, Run, commands

ALL = tuple(DURABLES)


def _flow(number: int, **changes: Any) -> Exchange:
    """Its trace id begins with the time, as the gateway makes them."""
    now = time.time()
    identifier = f"{int(now * 1000):012x}{number:020x}"
    return flow(number, **({"trace_id": identifier, "occurred_at": now} | changes))


async def _write(kept: Kept, subjects: Sequence[str] = ALL, *, ack: bool = True) -> None:
    """As the consumer role does it, for these subjects alone."""
    async with PostgresPool(kept.dsn) as pool:
        for m in await _stored(kept):
            if m.subject in subjects:
                one = Delivery("PIPELINE", m.subject, m.sequence, 1, m.event_id, m.data)
                assert not (await writer_for(m.subject, pool).write([one])).rejected
    if ack:
        await _ack(kept, subjects)


async def _stored(kept: Kept) -> list[Stored]:
    async with visit(kept.server.config) as client, StreamReader(client, "PIPELINE") as reader:
        return [m async for batch in reader.batches() for m in batch.messages]


async def _ack(kept: Kept, subjects: Iterable[str] = ALL) -> None:
    """Every message of them, each by its durable."""
    async with visit(kept.server.config) as client:
        js = client.jetstream()
        await ensure_streams(js, 1)
        for subject in subjects:
            config = ConsumerConfig(filter_subject=subject)
            pull = await js.pull_subscribe(
                subject, DURABLES[subject].name, stream="PIPELINE", config=config
            )
            while pending := (await pull.consumer_info()).num_pending:
                for message in await pull.fetch(pending):
                    await message.ack_sync()


async def _keep(folder: Path, exchanges: Iterable[Exchange]) -> None:
    """Leave them in the spool."""
    async with Spool(folder / "spool", SpoolConfig()) as spool:
        for each in exchanges:
            assert spool.keep(each)


def _states(stdout: str) -> dict[str, list[str]]:
    """What the table of events says by subject: consumer, state, first rows."""
    table = re.split(r"^(?:events|lineage)$", stdout, flags=re.MULTILINE)[1]
    cells = [re.split(r"  +", line.strip()) for line in table.splitlines() if "knowledge." in line]
    return {c[0]: [cell for cell in c[1:] if not cell.isdigit()] for c in cells if len(c) > 1}


async def test_a_written_exchange_is_told_from_request_to_rows(kept: Kept, appliance: Run) -> None:
    traced = _flow(1)
    await kept.publish([traced])
    await _write(kept)
    for identifier in (traced.trace_id, "c-1"):
        done = appliance("trace", identifier)
        assert done.returncode == 0, done.stderr
        words = " ".join(done.stdout.split())
        for part in (
            f"trace {traced.trace_id} correlation c-1",
            "in PostgreSQL",
            "openai_chat, once, model qwen3-8b, 2 messages, HTTP 200",
            "prompt question 1",
            "route direct: qwen3-8b-q4 on local (exact)",
            "retrieval garage: 2 hits in 0.020 s, at least 0.250, at most 6",
            "query how do I bleed the brakes?",
            "manual.md #2 0.750 120 tokens",
            "cut other.md #1 0.125 90 tokens: score below 0.250",
            "compose 200 of 300 tokens for knowledge, messages 2 to 4",
            'tool result look({"part":"pad"}) = worn',
            "+0.025 s backend desktop qwen3-8b: BackendTimeout in 0.050 s",
            "+0.080 s backend local qwen3-8b-q4: ok in 0.400 s",
            "+0.100 s first token",
            "reasoning 22 characters",
            'tool call order({"part":"pad","count":2})',
            "+0.500 s end finished, tool_calls, tokens in 12, out 3",
            "answer answer 1",
            "chat_persist acked chat_history 3 chat_pairs 1",
            "tool_call acked tool_results 1",
            "└─ answer qwen3-8b-q4 finished",
        ):
            assert part in words, part
        assert _states(done.stdout) == {
            PERSIST: ["chat_persist", "acked", "chat_history 3"],
            EMBEDDING: ["embedding", "acked", "embedding_events 1"],
            RETRIEVE: ["retrieve", "acked", "retrieve_events 1"],
            COMPOSE: ["compose", "acked", "compose_events 1"],
            LINEAGE: ["flow_lineage", "acked", "flow_lineage 10"],
            TOOL_CALL: ["tool_call", "acked", "tool_calls 1"],
            "telemetry.knowledge.chat": ["nobody: measures alone", "kept"],
            "telemetry.knowledge.embedding": ["nobody: measures alone", "kept"],
            "telemetry.knowledge.retrieve": ["nobody: measures alone", "kept"],
            "telemetry.knowledge.tool_call": ["nobody: measures alone", "kept"],
            "telemetry.knowledge.route": ["nobody: measures alone", "kept"],
        }
        assert "not looked at" not in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100


async def test_json_has_every_event_with_what_it_says(kept: Kept, appliance: Run) -> None:
    await kept.publish([_flow(1)])
    await _write(kept)
    told = json.loads(appliance("trace", "c-1", "--json").stdout)
    assert (told["id"], told["others"], told["unseen"]) == ("c-1", [], [])
    [exchange] = told["exchanges"]
    assert exchange["places"] == {"in PostgreSQL": 8}
    assert exchange["rows"] == {
        "chat_history": 3,
        "chat_pairs": 1,
        "embedding_events": 1,
        "retrieve_events": 1,
        "compose_events": 1,
        "flow_lineage": 10,
        "tool_results": 1,
        "tool_calls": 2,
    }
    chat = exchange["events"][0]
    assert (chat["subject"], chat["consumer"], chat["acked"]) == (PERSIST, "chat_persist", True)
    assert chat["sequence"] > 1_700_000_000_000_000
    assert (chat["facts"]["prompt"], chat["facts"]["reasoning"]) == (
        "question 1 " + "x" * 100,
        "They ask about brakes.",
    )
    assert [n["id"] for n in exchange["nodes"]][-1] == "answer"
    assert len(exchange["events"]) == 13


async def test_the_stream_the_spool_and_the_rows_tell_the_same(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    traced = _flow(1, occurred_at=1_795_000_000.25)
    await _keep(tmp_path, [traced])
    in_spool = appliance("trace", "c-1").stdout
    await kept.publish([traced])
    in_stream = appliance("trace", "c-1").stdout
    await _write(kept)
    in_rows = appliance("trace", "c-1").stdout
    stories = [text.partition("\nevents\n")[0] for text in (in_spool, in_stream, in_rows)]
    assert [story.splitlines()[3].strip() for story in stories] == [
        "in the spool, not yet in the stream",
        "in the stream, not yet consumed",
        "in PostgreSQL",
    ]
    told = [[line for line in s.splitlines() if not line.startswith("  in ")] for s in stories]
    assert told[0] == told[1] == told[2]
    lineages = {text.partition("\nlineage\n")[2] for text in (in_spool, in_stream, in_rows)}
    assert len(lineages) == 1


async def test_a_row_may_be_there_while_another_event_still_waits(
    kept: Kept, appliance: Run
) -> None:
    traced = _flow(1)
    await kept.publish([_flow(2), traced, _flow(3)])
    await _write(kept, [PERSIST, RETRIEVE])
    await _write(kept, [COMPOSE], ack=False)
    done = appliance("trace", traced.trace_id)
    states = _states(done.stdout)
    assert states[PERSIST] == ["chat_persist", "acked", "chat_history 3"]
    assert states[COMPOSE] == ["compose", "not acked yet", "compose_events 1"]
    assert states[LINEAGE] == ["flow_lineage", "not consumed"]
    assert states[TOOL_CALL] == ["tool_call", "not consumed"]
    words = " ".join(done.stdout.split())
    assert "in PostgreSQL: 3 events; in the stream, not yet consumed: 5 events" in words
    assert "└─ answer" in words


async def test_events_without_a_row_that_were_consumed_are_found_too(
    kept: Kept, appliance: Run
) -> None:
    exchanges = [_flow(n) for n in range(3)]
    await kept.publish(exchanges)
    await _ack(kept)
    for identifier in (exchanges[1].trace_id, "c-1"):
        done = appliance("trace", identifier)
        assert "in the stream, consumed, without a row" in done.stdout
        assert done.stdout.count("\nevents\n") == 1
        assert set(_states(done.stdout)[PERSIST]) == {"chat_persist", "acked, no row"}


async def test_one_who_was_forgotten_is_named_as_the_reason(kept: Kept, appliance: Run) -> None:
    traced = _flow(1)
    async with PostgresPool(kept.dsn) as pool:
        await forget(pool, traced.trace_id)
    await kept.publish([traced])
    await _ack(kept)
    words = " ".join(appliance("trace", traced.trace_id).stdout.split())
    assert f"{PERSIST}: in the stream, consumed, without a row: forgotten on request" in words


async def test_an_event_nobody_has_any_more_is_said_to_be_missing(
    kept: Kept, appliance: Run
) -> None:
    traced = _flow(1)
    await kept.publish([traced])
    await _write(kept)
    kept.execute("DELETE FROM compose_events")
    async with visit(kept.server.config) as client:
        await client.jetstream().purge_stream("PIPELINE")
    done = appliance("trace", traced.trace_id)
    assert _states(done.stdout)[COMPOSE] == ["compose", "not found"]
    assert "in PostgreSQL: 7 events; not found: 1 event" in done.stdout


async def test_the_pair_alone_is_told_when_the_messages_are_gone(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish([_flow(1)])
    await _write(kept)
    kept.execute("DELETE FROM chat_history")
    words = " ".join(appliance("trace", "c-1").stdout.split())
    assert "prompt question 1" in words
    assert "chat_persist acked chat_pairs 1" in words


async def test_an_exchange_nats_did_not_take_yet_names_what_it_will_become(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    await _keep(tmp_path, [_flow(n) for n in range(5)])
    done = appliance("trace", "c-3")
    assert "in the spool, not yet in the stream" in done.stdout
    states = _states(done.stdout)
    assert states[LINEAGE] == ["flow_lineage", "in the spool"]
    assert states["telemetry.knowledge.route"] == ["nobody: measures alone", "in the spool"]


async def test_a_poisoned_record_is_named_with_its_reason(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    poison = PoisonFile(tmp_path / "spool", 1_000_000)
    poison.append(msgspec.json.encode(_flow(1)), "no subject takes it")
    done = appliance("trace", "c-1")
    words = " ".join(done.stdout.split())
    assert f"{LINEAGE}: set aside in the spool: no subject takes it" in words
    assert _states(done.stdout)[PERSIST] == ["chat_persist", "set aside"]


async def test_with_nats_frozen_the_rows_and_the_spool_are_still_read(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    await kept.publish([_flow(1)])
    await _write(kept)
    await _keep(tmp_path, [_flow(2)])
    kept.server.signal(signal.SIGSTOP)
    told = appliance("trace", "c-1").stdout
    assert _states(told)[PERSIST] == ["chat_persist", "written", "chat_history 3"]
    assert "not looked at: NATS" in told
    assert "in the spool" in appliance("trace", "c-2").stdout


async def test_without_postgres_the_stream_is_looked_through(kept: Kept, tmp_path: Path) -> None:
    await kept.publish([_flow(1)])
    await _write(kept)
    (tmp_path / "elsewhere").mkdir()
    nowhere = commands(tmp_path / "elsewhere", kept.server, "host=127.0.0.1 port=1 dbname=none")
    told = nowhere("trace", "c-1").stdout
    assert "not looked at: PostgreSQL" in told
    assert "in the stream, consumed; its rows were not looked at" in told
    assert "└─ answer" in told


async def test_a_dead_letter_is_named_with_its_reason_and_the_others_are_rows(
    kept: Kept, appliance: Run
) -> None:
    traced = _flow(1)
    await kept.publish([traced])
    await _write(kept, [subject for subject in ALL if subject != COMPOSE])
    await _ack(kept, [COMPOSE])
    [m] = [m for m in await _stored(kept) if m.subject == COMPOSE]
    dead = Delivery("PIPELINE", COMPOSE, m.sequence, 20, m.event_id, m.data)
    async with PostgresPool(kept.dsn) as pool:
        await writer_for(COMPOSE, pool).bury([Rejected(dead, "too wide", final=False)])
    done = appliance("trace", traced.trace_id)
    assert _states(done.stdout)[COMPOSE] == ["compose", "dead letter", "dead_letters 1"]
    assert "in dead_letters: too wide (after 20 deliveries)" in done.stdout
    assert "in PostgreSQL: 7 events; in dead_letters: 1 event" in done.stdout


async def test_a_dead_letter_alone_is_found_by_either_id_and_even_when_it_is_no_event(
    kept: Kept, appliance: Run
) -> None:
    body = b'{"trace_id":"%b","correlation_id":"lone"}' % (b"b" * 32)
    no_event = Delivery("PIPELINE", PERSIST, 9, 20, f"{'a' * 32}:{PERSIST}", b"not json")
    half = Delivery("PIPELINE", PERSIST, 10, 3, f"{'b' * 32}:{PERSIST}", body)
    async with PostgresPool(kept.dsn) as pool:
        rejected = [Rejected(each, "it was no event", final=True) for each in (no_event, half)]
        await writer_for(PERSIST, pool).bury(rejected)
    for identifier in ("a" * 32, "b" * 32, "lone"):
        done = appliance("trace", identifier)
        assert "in dead_letters: it was no event" in done.stdout, done.stderr


async def test_a_correlation_id_shows_twenty_in_their_order_and_counts_the_others(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    thread = [_flow(n, correlation_id="thread") for n in range(26)]
    await kept.publish(thread[:12])
    await _write(kept)
    await kept.publish(thread[12:18])
    await _keep(tmp_path, thread[17:])
    told = json.loads(appliance("trace", "thread", "--json").stdout)
    ids = [exchange["trace_id"] for exchange in told["exchanges"]]
    assert ids == [each.trace_id for each in thread[:20]]
    assert told["others"] == [each.trace_id for each in thread[20:]]
    places = [exchange["place"] for exchange in told["exchanges"]]
    assert [places[0], places[17], places[18]] == [
        "in PostgreSQL",
        "in the stream, not yet consumed",
        "in the spool, not yet in the stream",
    ]
    said = appliance("trace", "thread").stdout.splitlines()[-1]
    assert said == f"6 more exchanges have this id; the last is {thread[25].trace_id}"


async def test_a_trace_id_that_a_caller_sends_back_shows_the_exchange_of_that_call_too(
    kept: Kept, appliance: Run
) -> None:
    first = _flow(1)
    second = _flow(2, correlation_id=first.trace_id)
    await kept.publish([first, second])
    told = json.loads(appliance("trace", first.trace_id, "--json").stdout)
    ids = [exchange["trace_id"] for exchange in told["exchanges"]]
    assert ids == [first.trace_id, second.trace_id]
    assert [len(exchange["events"]) for exchange in told["exchanges"]] == [13, 13]


async def test_what_a_tool_said_names_the_trace_that_brought_it(kept: Kept, appliance: Run) -> None:
    asks = _flow(1, tool_results=())
    brings = _flow(
        2, tool_results=(Returned("call_0", "order", '{"part":"pad","count":2}', "sent\n\x1b[1m"),)
    )
    await kept.publish([asks, brings])
    await _write(kept)
    words = " ".join(appliance("trace", asks.trace_id).stdout.split())
    assert f"= sent \ufffd[1m brought by trace {brings.trace_id}" in words
    words = " ".join(appliance("trace", brings.trace_id).stdout.split())
    assert f"= sent \ufffd[1m asked for in trace {asks.trace_id}" in words


async def test_a_payload_by_reference_is_resolved_and_said_to_be_one(
    kept: Kept, appliance: Run
) -> None:
    traced = _flow(1, answer="a large one")
    await kept.publish([traced], by_reference=True)
    words = " ".join(appliance("trace", traced.trace_id).stdout.split())
    assert "answer a large one" in words
    assert re.search(rf"{PERSIST}: its payload of \d+ bytes is in the object store", words)
    async with visit(kept.server.config) as client:
        await Payloads(client.jetstream()).remove(f"{traced.trace_id}:{PERSIST}")
    words = " ".join(appliance("trace", traced.trace_id).stdout.split())
    assert "is not in the bucket PAYLOADS any more" in words
    assert "└─ answer" in words


async def test_a_payload_above_eight_mebibytes_is_told_by_its_size(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish([_flow(1, answer="x" * (8 * 1024 * 1024))], by_reference=True)
    words = " ".join(appliance("trace", "c-1").stdout.split())
    assert re.search(r"its payload of 83\d{5} bytes was not fetched", words)


async def test_an_exchange_that_embeds_is_told_too(kept: Kept, appliance: Run) -> None:
    texts = ("one", "two")
    traced = _flow(
        1,
        operation="embeddings",
        surface="openai_embeddings",
        retrieval=None,
        embedding=Embedding("request", "minilm", texts, 256, 4, 0.0, 0.01),
        attempts=(),
        tool_calls=(),
        tool_results=(),
    )
    await kept.publish([traced])
    await _write(kept)
    done = appliance("trace", "c-1")
    words = " ".join(done.stdout.split())
    assert "embedding 2 texts by minilm on local, 256 dimensions" in words
    assert set(_states(done.stdout)) == {
        EMBEDDING,
        LINEAGE,
        "telemetry.knowledge.embedding",
        "telemetry.knowledge.route",
    }
    assert "  in PostgreSQL\n" in done.stdout


async def test_what_was_not_to_be_stored_leaves_measures_alone(kept: Kept, appliance: Run) -> None:
    traced = replace(_flow(1), store="none")
    await kept.publish([_flow(0), traced, _flow(2)])
    done = appliance("trace", traced.trace_id)
    assert "route       direct: qwen3-8b-q4 on local" in done.stdout
    assert all(subject.startswith("telemetry.") for subject in _states(done.stdout))


@pytest.mark.parametrize(
    "identifier", ["nobody", "' OR 1=1 --", "%", "x" * 300, "a\x1bb", "0" * 32, "f" * 32, ""]
)
def test_an_unknown_id_is_a_sentence_and_exit_1(appliance: Run, identifier: str) -> None:
    done = appliance("trace", identifier)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("appliance trace: ")
    assert len(done.stderr.splitlines()) == 1


async def test_what_people_and_models_wrote_cannot_command_the_terminal(
    kept: Kept, appliance: Run
) -> None:
    hostile = "\x1b]0;owned\x07 \u202edone\x00 \r\n<script>alert(1)</script> ]]> 漢字" * 9
    await kept.publish(
        [_flow(1, answer=hostile, request_model=hostile, error_message=hostile, error_type="E")]
    )
    for place in ("stream", "rows"):
        if place == "rows":
            await _write(kept)
        told = appliance("trace", "c-1").stdout
        assert not [c for c in told if c != "\n" and not c.isprintable()]
        assert "done" in told


async def test_html_is_one_file_that_replaces_what_was_there(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    await kept.publish([_flow(1, answer="<script>alert(1)</script>")])
    await _write(kept)
    file = tmp_path / "page.html"
    file.write_text("old")
    done = appliance("trace", "c-1", "--html", file)
    assert (done.returncode, done.stdout) == (0, f"{file}\n"), done.stderr
    page = file.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<svg") == 2
    assert oct(os.stat(file).st_mode & 0o777) == "0o600"
    assert sorted(p.name for p in tmp_path.glob("*page.html*")) == ["page.html"]


def test_html_where_it_cannot_be_is_a_sentence(appliance: Run, tmp_path: Path) -> None:
    for file, said in (
        (tmp_path / "none" / "page.html", "there is no folder"),
        (tmp_path, "is not a file"),
        (Path("/dev/null"), "is not a file"),
    ):
        done = appliance("trace", "c-1", "--html", file)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
