"""What Dagster's runs do with the events of a running appliance: beside the consumer, without it,
and by the thousand."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import httpx
import pytest

from tests.e2e.asking import question
from tests.e2e.dagster.asking import Talk, ask, flood
from tests.e2e.dagster.rows import TABLES, Rows, wait_taken
from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.dagster_instance import DagsterInstance
from tests.fakes.processes import family, proportional, resident, sizes

Measured = Callable[[str], None]
EVENTS = 5200
# Tables whose events an asset makes rows of, with the exchanges of the conversation that have some.
ASSETS: Mapping[str, tuple[str, ...]] = {
    "chat_record": ("chat_history", "chat_pairs"),
    "embedding_record": ("embedding_events",),
    "retrieve_record": ("retrieve_events",),
    "compose_record": ("compose_events",),
    "flow_lineage": ("flow_lineage",),
    "tool_call_record": ("tool_calls", "tool_results"),
}
DERIVED = ("chat_pair_record", "knowledge_events")
NOT_ASKED_FOR = ("tool_calls", "tool_results", "feedback", "rerank_scores")
# What differs between two exchanges that are otherwise alike.
OWN = ("id", "event_id", "trace_id", "correlation_id", "conversation_id", "stream_sequence")
LATER = ("embedding", "embedding_model")  # of a pair: Dagster's, once the row is there
MOMENTS = ("created_at", "occurred_at", "began_s", "duration_s", "time_to_first_token_s")


@pytest.fixture
def rows(appliance: Faulty) -> Rows:
    return Rows(appliance.dsn)


def settled(appliance: Faulty, dagster: DagsterInstance) -> None:
    """Nothing waits for Dagster or the consumer, and both are at rest."""
    wait_taken(appliance.nats)
    dagster.until(lambda: not dagster.under_way(), dagster.under_way)


def test_a_conversation_fills_every_table_and_every_asset_says_what_it_wrote(
    appliance: Faulty, rows: Rows, dagster: DagsterInstance, talk: Talk
) -> None:
    for table in ("chat_history", "chat_pairs", "flow_lineage"):
        rows.wait(table, talk.traces)
    for table in ("embedding_events", "retrieve_events", "compose_events"):
        rows.wait(table, talk.with_knowledge)
    rows.wait("tool_calls", talk.traces[:1])
    rows.wait("tool_results", talk.traces[1:2])
    settled(appliance, dagster)
    for asset, tables in ASSETS.items():
        done = dagster.materialisations(asset)
        told = [one.metadata for one in done]
        assert done, asset
        for table in tables:
            seen = sum(
                one[f"{table}/rows_written"] + one[f"{table}/rows_already_there"] for one in told
            )
            assert seen >= len(rows.of(table, talk.traces)) > 0, (asset, table, told)
        assert all(one["events"] >= 0 and one["preview"] for one in told)
        assert any(one.get("oldest") and one.get("newest") for one in told)
    for asset in DERIVED:
        assert dagster.materialisations(asset), asset
    assert not rows.letters()


def test_a_run_of_one_exchange_carries_both_ids_and_trace_names_it(
    appliance: Faulty,
    running: Appliance,
    rows: Rows,
    dagster: DagsterInstance,
    measured: Measured,
) -> None:
    settled(appliance, dagster)
    trace_id = ask(running.url, correlation="one/exchange:alone")
    answered = time.time()
    dagster.until(lambda: bool(dagster.runs("knowledge_chat_persist", trace_id=trace_id)))
    (run,) = dagster.runs("knowledge_chat_persist", trace_id=trace_id)
    assert run.tags["correlation_id"] == "one/exchange:alone"
    assert dagster.wait_run(run.run_id).status == "SUCCESS"
    (made,) = [one for one in dagster.materialisations("chat_record") if one.run_id == run.run_id]
    assert made.metadata["events"] == 1
    measured(f"from answer to materialised asset, at rest: {made.at - answered:.1f} s")

    settled(appliance, dagster)
    runs = dagster.runs(trace_id=trace_id)
    assert {run.job for run in runs} == {"knowledge_chat_persist", "knowledge_flow_lineage"}
    told = running.command("trace", trace_id, "--json")
    assert told.returncode == 0, told.stderr
    for run in runs:
        assert run.run_id in told.stdout
    for asset in ("chat_record", "flow_lineage"):
        assert asset in told.stdout
    assert json.loads(told.stdout)
    assert all(run.run_id in running.command("trace", trace_id).stdout for run in runs)


def test_dagster_alone_makes_the_rows_that_the_consumer_alone_makes(
    appliance: Faulty, running: Appliance, rows: Rows, dagster: DagsterInstance
) -> None:
    settled(appliance, dagster)
    body = question("Where is the bicycle, once more?", x_route="rag")
    tables = [table for table in TABLES if table not in NOT_ASKED_FOR]
    first = ask(running.url, body)  # the vector of a text seen before comes from a cache
    for table in tables:
        rows.wait(table, [first])  # its events are in the stream, later than its answer

    def alone(frozen: str) -> dict[str, Any]:
        settled(appliance, dagster)
        appliance.freeze(frozen)
        trace_id, reranked = ask(running.url, body), rerank(running.url)
        for table in tables:
            rows.wait(table, [trace_id])
        rows.wait("rerank_scores", [reranked])
        appliance.thaw(frozen)
        made = {table: alike(rows.of(table, [trace_id])) for table in tables}
        scored = rows.of("rerank_scores", [reranked])
        for row in scored:
            del row["score"]  # int8 rounds by what else is in a batch; ranks are the same
        return made | {"rerank_scores": alike(scored)}

    by_dagster, by_consumer = alone("consumer"), alone("dagster")
    for table in by_consumer:
        assert by_dagster[table] == by_consumer[table]
    settled(appliance, dagster)


def rerank(url: str) -> str:
    """The trace id of three documents put in order."""
    body = {"query": "where is the bicycle?", "documents": ["in the shed", "a sea", "a bicycle"]}
    answer = httpx.post(f"{url}/v1/rerank", json=body, timeout=60).raise_for_status()
    return str(answer.headers["x-request-id"])


def alike(value: Any) -> Any:
    """A row, or what is in it, without what is an exchange's own."""
    if isinstance(value, list):
        return sorted(map(alike, value), key=repr)
    if isinstance(value, dict):
        own = (*OWN, *LATER, *MOMENTS)
        return {key: alike(inner) for key, inner in value.items() if key not in own}
    return value


def test_both_together_write_no_row_twice(
    appliance: Faulty, running: Appliance, rows: Rows, dagster: DagsterInstance
) -> None:
    settled(appliance, dagster)
    body = question("Where is the bicycle at the same time?", x_route="rag")
    before = {asset: counted(dagster, asset) for asset in ASSETS}
    traces = [ask(running.url, body) for _ in range(40)]
    wait_taken(appliance.nats)
    for asset in ("chat_record", "retrieve_record", "compose_record", "flow_lineage"):
        dagster.until(partial(has_counted, dagster, asset, before[asset] + len(traces)))
        for table in ASSETS[asset]:
            (each,) = rows.each(table, traces)
            assert each == len(rows.of(table, traces[:1])) > 0
    pairs = rows.all("SELECT count(*) AS n FROM chat_pairs WHERE trace_id = ANY(%s)", traces)
    assert pairs == [{"n": len(traces)}]
    assert not rows.letters()


def has_counted(dagster: DagsterInstance, asset: str, count: int) -> bool:
    return counted(dagster, asset) >= count


def counted(dagster: DagsterInstance, asset: str) -> int:
    """The events that runs of `asset` handled until now."""
    return sum(one.metadata["events"] for one in dagster.materialisations(asset))


def test_one_run_handles_five_thousand_events(
    appliance: Faulty, rows: Rows, dagster: DagsterInstance, measured: Measured
) -> None:
    settled(appliance, dagster)
    appliance.freeze("consumer")
    dagster.stop_sensor("nats_dagster_chat_persist")
    traces = flood(appliance.nats, EVENTS, first=1_000_000)
    dagster.start_sensor("nats_dagster_chat_persist")
    rows.wait("chat_pairs", traces)
    appliance.thaw("consumer")
    settled(appliance, dagster)
    most = max(dagster.materialisations("chat_record"), key=lambda one: one.metadata["events"])
    assert most.metadata["events"] >= EVENTS
    assert most.metadata["chat_pairs/rows_written"] >= EVENTS
    run = dagster.run(most.run_id)
    assert run.status == "SUCCESS"
    assert run.started_at
    assert run.ended_at
    took = run.ended_at - run.started_at
    measured(f"one run over {EVENTS} chat events: {took:.1f} s, {EVENTS / took:.0f} events/s")
    for table in ("chat_history", "chat_pairs"):
        assert len(rows.each(table, traces)) == 1
    assert not rows.letters()


def test_what_it_costs_is_measured(
    appliance: Faulty, running: Appliance, dagster: DagsterInstance, measured: Measured
) -> None:
    settled(appliance, dagster)
    for sensor in ("nats_dagster_chat_persist", "nats_dagster_embedding"):
        dagster.until(partial(idle_ticks, dagster, sensor))
        skipped = idle_ticks(dagster, sensor)
        measured(
            f"{sensor}, idle ticks: median {1000 * statistics.median(skipped):.0f} ms, "
            f"most {1000 * max(skipped):.0f} ms, n={len(skipped)}"
        )
    assert running.process is not None
    everything = family(running.process.pid)
    measured(
        f"at rest after all that: dagster {of_memory(appliance, 'dagster')} (the second is the run "
        f"server), dagster-code {of_memory(appliance, 'dagster-code')}; up in all, "
        f"{len(everything)} processes: RSS {sum(sizes(everything, resident)) >> 20} MiB, "
        f"what they share counted once {sum(sizes(everything, proportional)) >> 20} MiB"
    )


def idle_ticks(dagster: DagsterInstance, sensor: str) -> list[float]:
    """Seconds of the latest ones that found nothing."""
    ticks = [tick for tick in dagster.ticks(sensor) if tick.said == "nothing new"]
    return [tick.duration_s for tick in ticks if tick.duration_s]


def of_memory(appliance: Faulty, part: str) -> str:
    """RSS of the part and of what it started."""
    pids = family(appliance.pid(part))
    return " + ".join(f"{size >> 20}" for size in sizes(pids, resident)) + " MiB"
