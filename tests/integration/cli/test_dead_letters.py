"""`appliance dead-letters` as a user runs it."""

import asyncio
import json

import msgspec

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery, Rejected
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.infra.postgres.dead_letters import DeadLetters
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.kept_events import Kept, Run, recent

REASON = "CheckViolation: too cold"


def _delivery(each: Exchange, sequence: int) -> Delivery:
    event = next(events_of(each))
    data = msgspec.json.encode(event.body)
    return Delivery("PIPELINE", event.subject, sequence, 20, event.event_id, data)


async def _bury(kept: Kept, *deliveries: Delivery) -> None:
    async with PostgresPool(kept.dsn) as pool:
        letters = [Rejected(delivery, REASON, final=True) for delivery in deliveries]
        await writer_for(PERSIST, pool).bury(letters)


async def test_the_list_says_what_when_and_why(kept: Kept, appliance: Run) -> None:
    first, second = recent(1), recent(2)
    await _bury(kept, _delivery(first, 7), _delivery(second, 8))
    lines = appliance("dead-letters", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert f"{PERSIST}  {first.trace_id}  tried 20 times  {REASON}" in lines[0]

    letters = json.loads(appliance("dead-letters", "list", "--json").stdout)
    assert [letter["trace_id"] for letter in letters] == [first.trace_id, second.trace_id]
    assert letters[0]["stream_sequence"] == 7
    other = ("dead-letters", "list", "--subject", "other")
    assert json.loads(appliance(*other, "--json").stdout) == []
    assert "no dead letters of other" in appliance(*other).stderr


async def test_a_letter_is_shown_cut_and_without_orders_to_the_terminal(
    kept: Kept, appliance: Run
) -> None:
    hostile = _delivery(recent(1, answer="a\x1b[2J" + "long " * 500), 7)
    await _bury(kept, hostile)
    shown = appliance("dead-letters", "show", 1).stdout
    assert f"reason          {REASON}" in shown
    assert '"gen_ai.request.model": "qwen3-8b"' in shown
    assert "(2505 characters)" in shown
    assert "\x1b" not in shown
    assert appliance("dead-letters", "show", 1, "--raw").stdout.encode() == hostile.data


async def test_a_payload_that_is_no_json_is_shown_too(kept: Kept, appliance: Run) -> None:
    await _bury(kept, Delivery("PIPELINE", PERSIST, 7, 1, "", b"\xff not json \x1b[2J"))
    shown = appliance("dead-letters", "show", 1)
    assert (shown.returncode, "\x1b" in shown.stdout) == (0, False)
    assert "not json" in shown.stdout


async def test_a_replay_after_the_fault_was_repaired_writes_rows_and_removes_the_letter(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish([recent(1), recent(2)])
    kept.execute("ALTER TABLE chat_pairs ADD CONSTRAINT cold CHECK (project = 'warm')")
    await kept.consume()
    letters = kept.execute("SELECT id FROM dead_letters ORDER BY id")
    assert len(letters) == 2

    still = appliance("dead-letters", "replay", "--all")
    assert still.returncode == 1
    assert still.stderr.count("stays: ") == 2
    (row,) = kept.execute("SELECT deliveries, reason FROM dead_letters ORDER BY id LIMIT 1")
    assert row[0] == 2
    assert "cold" in str(row[1])

    kept.execute("ALTER TABLE chat_pairs DROP CONSTRAINT cold")
    one = appliance("dead-letters", "replay", letters[0][0])
    assert (one.returncode, one.stdout.splitlines()[-1]) == (0, "1 letter removed"), one.stderr
    assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 1, "chat_pairs": 1}
    assert appliance("dead-letters", "replay", "--all").returncode == 0
    assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 0, "chat_pairs": 2}


async def test_a_letter_whose_row_is_there_goes_without_a_second_row(
    kept: Kept, appliance: Run
) -> None:
    known, unknown = recent(1), recent(2)
    await kept.publish([known])
    await kept.consume()
    await _bury(kept, _delivery(known, 1), _delivery(unknown, 2))
    done = appliance("dead-letters", "replay", "--all")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 letters removed")
    assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 0, "chat_pairs": 2}


async def test_a_subject_nobody_writes_keeps_its_letter(kept: Kept, appliance: Run) -> None:
    await _bury(kept, Delivery("PIPELINE", "pipeline.knowledge.odd", 7, 1, "t:x", b"{}"))
    done = appliance("dead-letters", "replay", "--all")
    assert done.returncode == 1
    assert "1 stays: no writer knows the subject pipeline.knowledge.odd" in done.stderr
    assert kept.rows(["dead_letters"]) == {"dead_letters": 1}


async def test_a_payload_by_reference_is_fetched_and_one_that_is_gone_stays(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish([recent(1, answer="large")], by_reference=True)
    async with PostgresPool(kept.dsn) as pool:
        message = await kept.first_message()
        gone = msgspec.json.decode(message.data)
        gone["payload_ref"]["object"] = "nobody"
        for sequence, data in ((1, message.data), (2, msgspec.json.encode(gone))):
            buried = Delivery("PIPELINE", PERSIST, sequence, 20, message.event_id, data)
            await writer_for(PERSIST, pool).bury([Rejected(buried, "away", final=True)])
    done = appliance("dead-letters", "replay", "--all")
    assert "2 stays: its payload nobody is not in the bucket" in done.stderr
    assert kept.execute("SELECT response FROM chat_pairs") == [("large",)]
    assert kept.execute("SELECT id FROM dead_letters") == [(2,)]


async def test_two_who_replay_at_once_duplicate_nothing(kept: Kept) -> None:
    await _bury(kept, *[_delivery(recent(number), number) for number in range(40)])

    async def replay(pool: PostgresPool) -> int:
        letters = DeadLetters(pool)
        removed = 0
        async for page in letters.pages():
            replayed = await letters.replay(page, lambda s: writer_for(s, pool), _as_it_is)
            assert replayed.failed == []
            removed += replayed.removed
        return removed

    async with PostgresPool(kept.dsn) as pool:
        removed = await asyncio.gather(*(replay(pool) for _ in range(3)))
    assert sum(removed) == 40
    assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 0, "chat_pairs": 40}


async def test_a_letter_of_somebody_forgotten_goes_without_a_row(
    kept: Kept, appliance: Run
) -> None:
    await _bury(kept, _delivery(recent(1, correlation_id="somebody"), 7))
    # As after a `forget` that was killed in its middle.
    kept.execute("INSERT INTO forgotten (digest) VALUES (sha256('somebody')) RETURNING 1")
    done = appliance("dead-letters", "replay", "--all")
    assert (done.returncode, "of somebody who is forgotten" in done.stdout) == (0, True)
    assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 0, "chat_pairs": 0}


async def test_what_is_not_there_or_not_said_is_a_sentence(kept: Kept, appliance: Run) -> None:
    for words, sentence in (
        (("show", "5"), "there is no dead letter 5"),
        (("replay", "5"), "there is no dead letter 5"),
        (("replay",), "name the letters to replay, or say --all"),
        (("replay", "5", "--all"), "name the letters to replay, or say --all"),
        (("replay", "5", "--subject", "chat_persist"), "--subject goes with --all"),
    ):
        done = appliance("dead-letters", *words)
        assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


async def _as_it_is(data: bytes) -> bytes:
    return data
