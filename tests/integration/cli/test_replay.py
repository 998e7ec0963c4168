"""`appliance replay` as a user runs it."""

import asyncio
import time

import pytest

from appliance.domain.events.chat import PERSIST
from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.kept_events import Kept, Run, commands, recent


def _table(stdout: str) -> dict[str, tuple[int, int]]:
    """(written, already there) by table."""
    rows = [line.split() for line in stdout.splitlines()]
    return {r[0]: (int(r[1]), int(r[2])) for r in rows if len(r) == 3 and r[1].isdigit()}


async def test_rows_that_were_deleted_come_back_and_a_second_time_changes_nothing(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish([recent(number) for number in range(4)])
    await kept.consume()
    before, dump = kept.rows(), kept.dump()
    assert all(before.values()), before
    for table in before:
        kept.execute(f"DELETE FROM {table}")

    done = appliance("replay", "--since", "1h")
    assert (done.returncode, kept.rows()) == (0, before), done.stderr
    assert _table(done.stdout) == {table: (count, 0) for table, count in before.items()}
    assert sorted(kept.dump().splitlines()) == sorted(dump.splitlines())

    again = appliance("replay", "--since", "1h")
    assert (again.returncode, kept.rows()) == (0, before)
    assert _table(again.stdout) == {table: (0, count) for table, count in before.items()}


@pytest.mark.parametrize("subject", [PERSIST, "chat_persist"])
async def test_a_subject_or_its_durable_replays_that_alone(
    kept: Kept, appliance: Run, subject: str
) -> None:
    await kept.publish([recent(number) for number in range(3)])
    assert appliance("replay", "--subject", subject, "--since", "1h").returncode == 0
    rows = kept.rows()
    assert (rows.pop("chat_history"), rows.pop("chat_pairs")) == (9, 3)
    assert not any(rows.values())


async def test_a_range_has_two_ends(kept: Kept, appliance: Run) -> None:
    await kept.publish([recent(1)])
    middle = time.time()
    await kept.publish([recent(2)])
    stamp = (
        f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(middle))}.{int(middle % 1 * 1e6):06d}Z"
    )
    assert appliance("replay", "--since", "1h", "--until", stamp).returncode == 0
    assert [r[0] for r in kept.execute("SELECT prompt FROM chat_pairs")] == [
        "question 1 " + "x" * 100
    ]
    assert appliance("replay", "--since", stamp).returncode == 0
    assert kept.rows()["chat_pairs"] == 2


async def test_forgotten_ones_do_not_come_back(kept: Kept, appliance: Run) -> None:
    gone, stays = recent(1), recent(2)
    await kept.publish([gone, stays])
    async with PostgresPool(kept.dsn) as pool:
        await forget(pool, gone.trace_id)
    done = appliance("replay", "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert kept.execute("SELECT trace_id FROM chat_pairs") == [(stays.trace_id,)]
    assert gone.trace_id not in kept.dump()
    assert "of somebody who is forgotten" in done.stdout


async def test_payloads_by_reference_are_resolved(kept: Kept, appliance: Run) -> None:
    await kept.publish([recent(1, answer="large")], by_reference=True)
    assert appliance("replay", "--since", "1h").returncode == 0
    assert kept.execute("SELECT response FROM chat_pairs") == [("large",)]


async def test_what_cannot_be_written_is_a_dead_letter_once_and_the_rest_is_written(
    kept: Kept, appliance: Run
) -> None:
    await kept.publish_raw(PERSIST, b'{"not": "an event"}', "t1:x")
    await kept.publish([recent(2)])
    for _ in range(2):
        done = appliance("replay", "--since", "1h")
        assert done.returncode == 1
        assert "1 dead letter: not an event of pipeline.knowledge.chat.persist" in done.stdout
        assert kept.rows(["dead_letters", "chat_pairs"]) == {"dead_letters": 1, "chat_pairs": 1}


async def test_a_dry_run_counts_and_writes_nothing(kept: Kept, appliance: Run) -> None:
    await kept.publish([recent(number) for number in range(3)])
    done = appliance("replay", "--since", "2h", "--dry-run")
    assert done.returncode == 0
    assert f"{PERSIST}" in done.stdout
    assert "nothing was written" in done.stdout
    assert not any(kept.rows().values())


async def test_it_says_when_the_range_begins_before_the_stream(kept: Kept, appliance: Run) -> None:
    await kept.publish([recent(1)])
    assert "PIPELINE begins at" in appliance("replay", "--since", "3d").stderr
    await asyncio.sleep(1.1)  # so that a range of a second begins after the stream
    assert "PIPELINE begins at" not in appliance("replay", "--since", "1s").stderr


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--since", "yesterday"), 2, "neither a time with its zone"),
        (("--since", "2026-11-21T10:00:00"), 2, "neither a time with its zone"),
        (("--since", "1h", "--until", "2h"), 1, "--until must be later than --since"),
        (("--since", "1h", "--subject", "chat"), 1, "no consumer has the subject 'chat'"),
        (("--since", "1h"), 1, "NATS has no stream PIPELINE"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    appliance: Run, words: tuple[str, ...], code: int, sentence: str
) -> None:
    done = appliance("replay", *words)
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


async def test_without_nats_it_says_so(kept: Kept, appliance: Run) -> None:
    await kept.publish([recent(1)])
    kept.server.kill()
    done = appliance("replay", "--since", "1h")
    assert done.returncode == 1
    assert done.stderr.startswith("appliance replay: NATS: ")
    assert "Traceback" not in done.stderr


async def test_without_the_database_it_says_so_before_it_reads(
    kept: Kept, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await kept.publish([recent(1)])
    folder = tmp_path_factory.mktemp("host")
    run = commands(folder, kept.server, "host=127.0.0.1 port=1 dbname=none user=none")
    done = run("replay", "--since", "1h")
    assert done.returncode == 1
    assert done.stderr.startswith("appliance replay: PostgreSQL: ")
    assert "Traceback" not in done.stderr
