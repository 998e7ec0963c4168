"""kill -9 in the middle of what Dagster alone makes rows of: every row is there once, and a fresh
run's checks are green."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.dagster.asking import ask, flood
from tests.e2e.dagster.rows import DAGSTERS, Rows, wait_taken
from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.dagster_instance import DagsterInstance
from tests.fakes.processes import children, is_alive, wait_gone
from tests.fakes.until import until

SENSOR, JOB = "nats_dagster_chat_persist", "knowledge_chat_persist"
EXCHANGES = 3200
VICTIMS = ("run", "dagster", "dagster-code", "postgres")
# A dead run is found out, what it had pulled is delivered again, a sensor asks for the next run.
WITHIN_S = 120.0
CHECKED = ("chat_record", "flow_lineage")
MADE_OF_THEM = ("chat_pair_record", "knowledge_events")


@pytest.fixture
def alone(appliance: Faulty, dagster: DagsterInstance) -> Iterator[Faulty]:
    """Nobody has anything left to do, and the consumer does nothing until the test is over."""
    wait_taken(appliance.nats)
    dagster.until(lambda: not dagster.under_way(), dagster.under_way)
    appliance.freeze("consumer")
    yield appliance
    appliance.thaw_all()


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_in_the_middle_of_a_batch_every_row_is_there_once(
    alone: Faulty, running: Appliance, dagster: DagsterInstance, victim: str
) -> None:
    rows = Rows(alone.dsn)
    dagster.stop_sensor(SENSOR)
    first = (1 + VICTIMS.index(victim)) * 10_000
    traces = flood(alone.nats, EXCHANGES, first=first)
    dagster.start_sensor(SENSOR)
    until(lambda: rows.exchanges("chat_pairs", traces) > 0, lambda: running.output, WITHIN_S)
    kill(alone, running, victim)
    written = rows.exchanges("chat_pairs", traces)  # none while PostgreSQL is away
    assert victim == "dagster-code" or written < EXCHANGES, "it came too late to show anything"

    for table in ("chat_pairs", "chat_history", "flow_lineage"):
        rows.wait(table, traces, WITHIN_S)
        assert len(rows.each(table, traces)) == 1, f"{table}: {rows.each(table, traces)}"
    assert not rows.letters()
    require_green(alone, running, dagster)


def kill(appliance: Faulty, running: Appliance, victim: str) -> None:
    """kill -9; return when it is gone, and its successor has been started."""
    if victim != "run":
        appliance.kill_and_wait(victim)
        return
    pids = runs_of(appliance.pid("dagster"))
    assert pids, running.output
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)


def runs_of(dagster: int) -> list[int]:
    """The processes of its runs: the run server's children."""
    return [run for server in children(dagster) for run in children(server) if is_alive(run)]


def require_green(appliance: Faulty, running: Appliance, dagster: DagsterInstance) -> None:
    """One more exchange, its run, and every check of that run's assets."""
    wait_taken(appliance.nats, DAGSTERS, WITHIN_S)
    dagster.until(lambda: not dagster.under_way(), dagster.under_way, WITHIN_S)
    trace_id = ask(running.url)
    dagster.until(lambda: bool(dagster.runs(JOB, trace_id=trace_id)), timeout_s=WITHIN_S)
    wait_taken(appliance.nats, DAGSTERS, WITHIN_S)
    dagster.until(lambda: not dagster.under_way(), dagster.under_way, WITHIN_S)
    fresh = {run.run_id: run.status for run in dagster.runs(trace_id=trace_id)}
    assert set(fresh.values()) == {"SUCCESS"}
    for asset in (*CHECKED, *MADE_OF_THEM):
        (made, *_) = dagster.materialisations(asset)
        assert made.run_id in fresh
    for asset in CHECKED:
        checks = dagster.checks(asset)
        assert checks, f"{asset} has no checks"
        assert set(checks.values()) == {"SUCCEEDED"}, (asset, checks)
