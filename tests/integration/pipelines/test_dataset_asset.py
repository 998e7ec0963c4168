"""The training data as an asset, and when it is made anew."""

import asyncio
import json

import dagster as dg

from appliance.infra.postgres.forget import forget
from appliance.infra.postgres.pipeline_runs import RunRow, runs_of
from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.dagster_lab import EVERY_ASSET, Lab
from tests.fakes.kept_events import recent

JOB, SCHEDULE = "chat_pair_dataset", "chat_pair_dataset_schedule"


def test_the_pairs_become_files_once_until_there_is_something_new(stored: Lab) -> None:
    lab = stored
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # there is no dataset yet
    first = recent(1, tool_calls=())
    lab.publish(first, recent(2, tool_calls=()))
    asyncio.run(lab.kept.consume())
    run = lab.run(JOB)
    assert run.success, lab.failures(run)
    found = lab.metadata(run, "chat_pair_dataset")
    folder = next(lab.datasets.rglob("manifest.json")).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert found["path"] == str(folder)
    assert found["read"] == found["rows_written"] == 2
    assert set(found) >= EVERY_ASSET
    assert first.trace_id in found["preview"]
    assert found["dagster/row_count"] == found["train"] + found["validation"]
    assert found["files"] == manifest["files"]
    assert found["excluded"] == manifest["excluded"]
    assert all(len(file["sha256"]) == 64 for file in found["files"].values())

    assert lab.look(SCHEDULE) == "no pair and no rating is newer than the last manifest"
    lab.kept.execute(
        "DELETE FROM chat_pairs WHERE trace_id IN (SELECT min(trace_id) FROM chat_pairs)"
    )
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # one was forgotten
    assert lab.run(JOB).success
    assert isinstance(lab.look(SCHEDULE), str)
    rules = f'[dataset]\ndir = "{lab.datasets}"\nmin_rating = 1\n'
    lab.configure(rules)
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # other rules
    lab.configure()
    lab.publish(recent(3))
    asyncio.run(lab.kept.consume())
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)


def test_a_run_is_on_record_for_the_exchanges_whose_pair_is_in_the_files(stored: Lab) -> None:
    lab = stored
    taken = [recent(number, tool_calls=()) for number in (1, 2, 5)]
    left_out = [recent(3, tool_calls=(), finish_reason="length"), recent(4, status="failed")]
    lab.publish(*taken[:2], *left_out, *taken[2:])
    asyncio.run(lab.kept.consume())

    async def on_record(*trace_ids: str) -> list[RunRow]:
        async with PostgresPool(lab.kept.dsn) as pool:
            return await runs_of(pool, trace_ids)

    run = lab.run(JOB)
    assert run.success, lab.failures(run)
    told = asyncio.run(on_record(*(exchange.trace_id for exchange in taken)))
    assert {row.trace_id for row in told} == {exchange.trace_id for exchange in taken}
    assert {(row.run_id, row.asset, row.events) for row in told} == {
        (run.run_id, "chat_pair_dataset", 3)
    }
    assert not asyncio.run(on_record(*(exchange.trace_id for exchange in left_out)))


def test_a_forgotten_pair_leaves_the_files_when_as_many_came_late(stored: Lab) -> None:
    lab = stored
    gone, late = recent(1, tool_calls=()), recent(2, tool_calls=())
    lab.publish(gone)
    asyncio.run(lab.kept.consume())
    assert lab.run(JOB).success
    assert isinstance(lab.look(SCHEDULE), str)
    lab.publish(late)  # it occurred before the dataset was made
    asyncio.run(lab.kept.consume())

    async def forgotten() -> None:
        async with PostgresPool(lab.kept.dsn) as pool:
            await forget(pool, gone.trace_id)

    asyncio.run(forgotten())
    assert lab.kept.rows(["chat_pairs"]) == {"chat_pairs": 1}
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)
    assert lab.run(JOB).success
    files = [path.read_bytes() for path in lab.datasets.rglob("*.jsonl")]
    assert any(b"answer 2" in data for data in files)
    assert not any(b"answer 1" in data for data in files)
    assert isinstance(lab.look(SCHEDULE), str)


def test_a_host_without_a_folder_for_it_says_so(lab: Lab) -> None:
    lab.configure("[dataset]\nmin_rating = 0\n")
    run = lab.run(JOB)
    assert "[dataset] dir" in lab.failures(run)["export_chat_pair_dataset"]
