"""What housekeeping deletes, what it keeps, and when it has nothing to do."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from appliance.pipelines.housekeeping import (
    cutoff,
    delete_check_results,
    delete_idle_ticks,
    delete_runs,
)
from tests.fakes.dagster_lab import Lab
from tests.fakes.kept_events import recent

JOB = "dagster_housekeeping"
SCHEDULE = "dagster_housekeeping_schedule"
OLD_RESPONSE = """
INSERT INTO api_responses (id, trace_id, correlation_id, conversation_id, key_name, status, model,
    background, previous_response_id, resource, input_items, created_at)
VALUES ('resp_1', '1', 'c', 'c', '', 'completed', 'm', false, '', '', '',
    now() - interval '31 days')
"""
_REPOSITORY = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(), location_name="appliance"),
    "__repository__",
)


def in_an_hour() -> datetime:
    """Before then everything is old."""
    return cutoff(0, time.time() + 3600)


def check_results(instance: dg.DagsterInstance) -> int:
    """How many are remembered of a check that every run of the embedding job makes."""
    key = dg.AssetCheckKey(dg.AssetKey("embedding_record"), "fresh")
    return len(instance.event_log_storage.get_asset_check_execution_history(key, limit=9))


def test_old_runs_go_with_their_events_and_logs_the_newest_of_an_asset_stays(
    stored: Lab,
) -> None:
    lab, instance = stored, stored.instance
    lab.publish(recent(1))
    first, newest = lab.run("knowledge_embedding"), lab.run("knowledge_embedding")
    job = lab.definitions.resolve_job_def("knowledge_embedding")
    working = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    never = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    logs = Path(instance.storage_directory()) / first.run_id
    assert logs.is_dir()

    checks = check_results(instance)
    assert delete_runs(instance, cutoff(14, time.time()), keep=4) == 0
    assert delete_runs(instance, cutoff(14, time.time()), keep=3) == 1  # of four, the oldest

    assert instance.get_run_by_id(first.run_id) is None
    assert instance.all_logs(first.run_id) == []
    assert not logs.exists()
    assert check_results(instance) == checks - 1

    # The newest of an asset, one at work and one not begun: of these there are never too many.
    assert delete_runs(instance, cutoff(14, time.time()), keep=1) == 0
    assert delete_runs(instance, in_an_hour(), keep=9) == 1

    assert instance.get_run_by_id(never.run_id) is None
    assert instance.get_run_by_id(working.run_id) is not None
    event = instance.get_latest_materialization_event(dg.AssetKey("embedding_record"))
    assert event is not None
    assert event.run_id == newest.run_id
    assert delete_runs(instance, in_an_hour(), keep=1) == 0


def test_results_of_checks_go_but_the_newest_of_each(stored: Lab) -> None:
    for _ in range(2):
        assert stored.run("knowledge_embedding").success
    assert delete_check_results(stored.instance, datetime(2020, 1, 1, tzinfo=UTC)) == 0
    assert delete_check_results(stored.instance, in_an_hour()) == 2
    assert check_results(stored.instance) == 1


def test_ticks_that_asked_for_nothing_go_before_the_others(stored: Lab) -> None:
    instance = stored.instance
    sensor = InstigatorState(
        RemoteInstigatorOrigin(_REPOSITORY, "nats_dagster_embedding"),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(),
    )
    instance.add_instigator_state(sensor)
    origin, selector = sensor.instigator_origin_id, sensor.selector_id
    for at in (1000.0, 2000.0):
        for status in (TickStatus.SKIPPED, TickStatus.SUCCESS):
            data = TickData(
                origin, sensor.instigator_name, InstigatorType.SENSOR, status, at,
                run_ids=[], selector_id=selector,
            )  # fmt: skip
            instance.create_tick(data)
    delete_idle_ticks(instance, 1500.0)
    left = {(tick.status, tick.timestamp) for tick in instance.get_ticks(origin, selector)}
    assert left == {
        (TickStatus.SUCCESS, 1000.0),
        (TickStatus.SUCCESS, 2000.0),
        (TickStatus.SKIPPED, 2000.0),
    }


def test_the_job_deletes_old_rows_as_retention_says(lab: Lab) -> None:
    lab.configure("[retention]\nembedding_events = 1\n")
    lab.publish(recent(1), recent(2))
    asyncio.run(lab.kept.consume())
    lab.kept.execute(
        "UPDATE embedding_events SET created_at = now() - interval '2 days' "
        "WHERE event_id IN (SELECT min(event_id) FROM embedding_events)"
    )
    run = lab.run(JOB)
    assert run.success, lab.failures(run)
    assert lab.kept.rows(["embedding_events", "flow_lineage"]) == {
        "embedding_events": 1,
        "flow_lineage": lab.kept.rows(["flow_lineage"])["flow_lineage"],
    }


def test_a_part_that_fails_holds_up_no_other(lab: Lab) -> None:
    lab.publish(recent(1))
    asyncio.run(lab.kept.consume())
    lab.configure("[retention]\nembedding_events = 1\n")
    lab.kept.execute("ALTER TABLE embedding_events RENAME COLUMN created_at TO made_at")
    run = lab.run(JOB)
    assert set(lab.failures(run)) == {"apply_retention", "check_everything"}
    assert run.get_step_success_events()


def test_it_is_asked_for_when_there_is_something_to_do(stored: Lab) -> None:
    lab, job = stored, stored.definitions.resolve_job_def(JOB)
    assert lab.run(JOB).success
    assert "no event waits" in str(lab.look(SCHEDULE))
    lab.kept.execute(OLD_RESPONSE)
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)
    lab.kept.execute("DELETE FROM api_responses")
    assert isinstance(lab.look(SCHEDULE), str)
    lab.instance.create_run_for_job(job, status=dg.DagsterRunStatus.CANCELED)
    lab.configure()
    assert isinstance(lab.look(SCHEDULE), str)
    lab.configure(dagster="keep_runs = 1")
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # runs are too many
    lab.configure()
    assert lab.run("knowledge_embedding").success
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # a run its checks have not seen
    assert lab.run(JOB).success
    assert isinstance(lab.look(SCHEDULE), str)
    lab.publish(recent(1))
    assert isinstance(lab.look(SCHEDULE), dg.RunRequest)  # events wait
