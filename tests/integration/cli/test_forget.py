"""`appliance forget` as a user runs it: nothing of it is anywhere afterwards, and nobody else lost
anything."""

import asyncio
import os
import pty
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from appliance.config.schema import SpoolConfig
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery, Rejected
from appliance.domain.events.exchange import Exchange, Returned
from appliance.domain.events.topics import events_of
from appliance.infra.nats.events.pieces import subject_of
from appliance.infra.nats.shipper.shipper import Shipper
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.responses import PostgresResponseStore
from appliance.infra.postgres.writers import writer_for
from appliance.infra.spool.poison import PoisonFile
from appliance.infra.spool.spool import Spool
from tests.fakes.kept_events import TABLES, Kept, Run, commands, recent
from tests.fakes.stored_responses import response

SECRET = "XYZZY"
ALICE, BOB = "alice-talks", "bob-talks"


def _call(call_id: str, arguments: str) -> dict[str, object]:
    function = {"name": "look", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _of_alice(number: int, **changes: object) -> Exchange:
    """Everything a person, a model or a tool wrote is secret but for the system prompt."""
    made = recent(
        number,
        correlation_id=f"alice-{number}",
        conversation_id=ALICE,
        messages=(
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": f"question {SECRET} {number}"},
        ),
        answer=f"answer {SECRET} {number}",
        tool_calls=(_call(f"alice-call-{number}", f'{{"word": "{SECRET}"}}'),),
        tool_results=(Returned(f"alice-call-{number - 1}", "look", "", f"{SECRET} found"),),
        error_message=f"quoted {SECRET}",
    )
    assert made.retrieval is not None
    assert made.feedback is not None
    made.feedback = replace(made.feedback, comment=f"{SECRET}, of course")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _of_bob(number: int, **changes: object) -> Exchange:
    return recent(number, correlation_id=f"bob-{number}", conversation_id=BOB, **changes)


async def _everything(kept: Kept) -> tuple[list[Exchange], list[Exchange]]:
    """Both talk; what Bob's model asked a tool for, a request of Alice's brings."""
    bob = [_of_bob(10, tool_calls=(_call("bob-call", "{}"),)), _of_bob(11)]
    brought = (Returned("bob-call", "look", "{}", f"{SECRET} for bob"),)
    alice = [_of_alice(1), _of_alice(2), _of_alice(3, tool_results=brought)]
    await kept.publish([bob[0], alice[0], alice[1]])
    await kept.publish([alice[2]], by_reference=True)
    await kept.publish([bob[1]])
    return alice, bob


async def _stored_responses(kept: Kept, *exchanges: Exchange) -> None:
    """A response of each, with its stream."""
    async with PostgresPool(kept.dsn) as pool:
        for each in exchanges:
            data = msgspec.json.encode({"text": f"{each.answer} {each.messages[-1]}"})
            new = replace(
                response(each.trace_id),
                correlation_id=each.correlation_id,
                conversation_id=each.conversation_id,
                resource=data,
                input_items=data,
            )
            await PostgresResponseStore(pool).keep(new, data)
            for _ in range(2):
                await kept.publish_raw(subject_of(each.trace_id), data)


async def _bury(kept: Kept, data: bytes, event_id: str, sequence: int = 1) -> None:
    async with PostgresPool(kept.dsn) as pool:
        delivery = Delivery("PIPELINE", PERSIST, sequence, 1, event_id, data)
        await writer_for(PERSIST, pool).bury([Rejected(delivery, "why", final=True)])


def _poison(folder: Path, *exchanges: Exchange) -> PoisonFile:
    (folder / "spool").mkdir(exist_ok=True)
    file = PoisonFile(folder / "spool", 1_000_000)
    for each in exchanges:
        assert file.append(msgspec.json.encode(each), "too large") is not None
    return file


async def test_a_conversation_is_gone_everywhere_and_the_others_lost_nothing(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    alice, bob = await _everything(kept)
    await kept.consume()
    (row,) = kept.execute("SELECT result FROM tool_calls WHERE call_id = 'bob-call'")
    assert row == (f"{SECRET} for bob",)
    letter = msgspec.json.encode({"conversation_id": ALICE, "answer": SECRET})
    await _bury(kept, letter, "")
    await _bury(kept, f'broken "{ALICE}" {SECRET}'.encode(), "", 2)
    await _bury(kept, b"broken " + BOB.encode(), "", 3)
    await _stored_responses(kept, alice[0], bob[0])
    poison = _poison(tmp_path, alice[0], bob[0])
    assert kept.files(SECRET)
    assert kept.dump().count(SECRET) > 10

    done = appliance("forget", ALICE, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert SECRET not in kept.dump()
    for each in alice:
        assert each.trace_id not in kept.dump()
    await kept.gone_from_files(SECRET)
    assert SECRET not in poison.path.read_text()
    assert bob[0].trace_id in poison.path.read_text()

    said = " ".join(done.stdout.split())
    for part in (
        "PostgreSQL, 3 exchanges",
        "chat_pairs 3",
        "results in tool_calls of others 1",
        "dead_letters 2",
        "api_responses 1",
        "TELEMETRY: 18 messages",
        "EVT: 2 messages",
        "payloads in the object store: 9 objects",
        "set aside in the spool: 1 record",
    ):
        assert part in said, done.stdout

    assert kept.execute("SELECT content FROM message_contents WHERE content = 'You are terse.'")
    pairs = kept.execute("SELECT trace_id, response FROM chat_pairs ORDER BY stream_sequence")
    assert pairs == [(each.trace_id, each.answer) for each in bob]
    assert kept.execute("SELECT count(*) FROM chat_history") == [(6,)]
    assert kept.execute(
        "SELECT count(*) FROM chat_history h WHERE NOT EXISTS"
        " (SELECT FROM message_contents c WHERE c.hash = h.content_hash)"
    ) == [(0,)]
    assert kept.execute(
        "SELECT result, result_trace_id, result_at FROM tool_calls WHERE call_id = 'bob-call'"
    ) == [(None, None, None)]
    assert kept.rows(["dead_letters"]) == {"dead_letters": 1}


def _but_for_when_it_was_forgotten(kept: Kept) -> list[str]:
    kept.execute("UPDATE forgotten SET forgotten_at = 'epoch' RETURNING 1")
    return sorted(kept.dump().splitlines())


async def test_forgetting_again_finds_nothing_and_changes_nothing(
    kept: Kept, appliance: Run
) -> None:
    await _everything(kept)
    await kept.consume()
    assert appliance("forget", ALICE, "--yes").returncode == 0
    before = _but_for_when_it_was_forgotten(kept)
    done = appliance("forget", ALICE, "--yes")
    assert (done.returncode, _but_for_when_it_was_forgotten(kept)) == (0, before)
    assert "PIPELINE: 0 messages" in done.stdout


async def test_what_no_consumer_saw_yet_is_erased_and_becomes_no_row(
    kept: Kept, appliance: Run
) -> None:
    alice, bob = await _everything(kept)
    assert appliance("forget", ALICE, "--yes").returncode == 0
    await kept.gone_from_files(SECRET)
    for event in events_of(alice[0]):  # a gateway that was away longer than the streams know ids
        await kept.publish_raw(event.subject, msgspec.json.encode(event.body))
    written = await kept.consume()
    assert written.forgotten > 0
    assert SECRET not in kept.dump()
    assert kept.rows(["chat_pairs"]) == {"chat_pairs": len(bob)}
    appliance("replay", "--since", "1h")
    assert SECRET not in kept.dump()


async def test_the_id_of_a_response_stands_for_its_exchange(kept: Kept, appliance: Run) -> None:
    alice, bob = await _everything(kept)
    await kept.consume()
    await _stored_responses(kept, alice[1], bob[0])
    done = appliance("forget", f"resp_{alice[1].trace_id}", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert alice[1].trace_id not in kept.dump()
    assert kept.execute("SELECT trace_id FROM api_responses") == [(bob[0].trace_id,)]
    await kept.gone_from_files(f"question {SECRET} 2")


@pytest.mark.parametrize("which", ["trace_id", "correlation_id"])
async def test_one_exchange_goes_and_its_conversation_stays(
    kept: Kept, appliance: Run, which: str
) -> None:
    alice, bob = await _everything(kept)
    await kept.consume()
    done = appliance("forget", getattr(alice[1], which), "--yes")
    assert done.returncode == 0, done.stderr
    left = {row[0] for row in kept.execute("SELECT trace_id FROM chat_pairs")}
    assert left == {each.trace_id for each in [alice[0], alice[2], *bob]}
    assert alice[1].trace_id not in kept.dump()
    await kept.gone_from_files(f"question {SECRET} 2")
    assert kept.files(f"question {SECRET} 1")
    for table in set(TABLES):
        (row,) = kept.execute(f"SELECT count(DISTINCT trace_id) FROM {table}")
        assert row == (4,), table


async def test_a_dataset_that_may_hold_it_is_said(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    alice, _ = await _everything(kept)
    await kept.consume()
    assert "dataset" not in appliance("forget", alice[0].trace_id, "--yes").stdout
    folder = tmp_path / "none" / "datasets" / "chat_pairs"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    done = appliance("forget", ALICE, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The dataset {folder} was written before and may hold it" in done.stdout
    assert "appliance dataset export" in done.stdout


async def test_an_id_of_a_caller_that_looks_like_a_trace_id_of_the_future_is_found(
    kept: Kept, appliance: Run
) -> None:
    caller = "f47ac10b58cc4372a5670e02b2c3d479"
    await kept.publish([_of_alice(1, correlation_id=caller)])
    assert "PIPELINE: 9 messages" in appliance("forget", caller, "--yes").stdout
    await kept.gone_from_files(SECRET)


async def test_without_nats_the_rows_go_and_it_says_what_remains(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    alice, _ = await _everything(kept)
    await kept.consume()
    poison = _poison(tmp_path, alice[0])
    kept.server.kill()
    done = appliance("forget", ALICE, "--yes")
    assert done.returncode == 1
    assert "messages in PIPELINE, TELEMETRY and EVT and their payloads remain" in done.stderr
    assert SECRET not in kept.dump()
    assert SECRET not in poison.path.read_text()

    kept.server.start()
    assert appliance("forget", ALICE, "--yes").returncode == 0
    await kept.gone_from_files(SECRET)


async def test_without_the_database_nothing_is_deleted(
    kept: Kept, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await kept.publish([_of_alice(1)])
    folder = tmp_path_factory.mktemp("host")
    run = commands(folder, kept.server, "host=127.0.0.1 port=1 dbname=none user=none")
    done = run("forget", ALICE, "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("appliance forget: PostgreSQL: ")
    assert done.stderr.endswith("nothing was deleted\n")
    assert kept.files(SECRET)


async def test_a_record_that_waits_in_the_spool_is_said_and_becomes_no_row(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    await kept.publish([_of_bob(10)])
    late = _of_alice(1)
    async with Spool(tmp_path / "spool", SpoolConfig()) as spool:
        assert spool.keep(late)
        done = appliance("forget", ALICE, "--yes")
        assert done.returncode == 1
        assert "1 record of it in the spool" in done.stderr
        assert "dropped when they arrive" in done.stderr
        async with Shipper(spool, kept.server.config, "desk"):
            await kept.eventually(lambda: not spool.stats().depth_records)
            await kept.consume()
            assert SECRET not in kept.dump()
            # In a thread: the gateway goes on, and notes what was shipped.
            done = await asyncio.to_thread(appliance, "forget", ALICE, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    await kept.gone_from_files(SECRET)


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 1), ("\n", 1)])
async def test_on_a_terminal_it_says_what_goes_and_asks(
    kept: Kept, appliance: Run, answer: str, code: int
) -> None:
    await _everything(kept)
    await kept.consume()
    before = kept.dump()
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        done = appliance("forget", ALICE, terminal=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Of alice-talks, 3 exchanges in PostgreSQL" in done.stdout
    assert "chat_history" in done.stdout
    assert (kept.dump() == before) == bool(code)


async def test_with_nobody_to_ask_it_refuses(kept: Kept, appliance: Run) -> None:
    await _everything(kept)
    await kept.consume()
    before = kept.dump()
    done = appliance("forget", ALICE)
    assert (done.returncode, kept.dump()) == (1, before)
    assert "say --yes" in done.stderr
