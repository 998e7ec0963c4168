"""What a sensor decides, over a real JetStream."""

import asyncio
import time

import dagster as dg
import nats

from appliance.pipelines.budget import Budget
from tests.fakes.dagster_lab import Lab
from tests.fakes.kept_events import recent

SENSOR, JOB = "nats_dagster_embedding", "knowledge_embedding"
DURABLE = "dagster_embedding"


async def hand_out(lab: Lab) -> None:
    """Somebody takes what waits and dies with it."""
    config = lab.kept.server.config
    client = await nats.connect(config.url, token=config.token)
    try:
        pulling = await client.jetstream().pull_subscribe_bind(DURABLE, "PIPELINE")
        assert len(await pulling.fetch(1)) == 1
    finally:
        await client.close()


def test_a_run_is_asked_for_once_something_waits_and_not_after_it_is_done(lab: Lab) -> None:
    assert "no stream" in str(lab.tick(SENSOR))
    lab.publish(recent(1))
    asked = lab.tick(SENSOR)
    assert isinstance(asked, dg.RunRequest)
    assert lab.run(JOB).success
    assert lab.tick(SENSOR) == "nothing new"


def test_what_trickles_in_waits_for_its_turn_unless_it_is_much(lab: Lab) -> None:
    lab.publish(recent(1))
    spent = Budget(0.0, time.time()).cursor()
    lab.cursors[SENSOR] = spent
    assert str(lab.tick(SENSOR)).startswith("1 events wait for the next run, due in ")
    assert lab.cursors[SENSOR] == spent  # asking costs nothing
    lab.configure(dagster="run_events = 3")
    assert isinstance(lab.tick(SENSOR), str)
    lab.configure(dagster="run_events = 2")
    assert isinstance(lab.tick(SENSOR), dg.RunRequest)  # half of what a run takes
    assert lab.cursors[SENSOR] != spent
    lab.configure(dagster="runs_every_s = 0.001")
    assert isinstance(lab.tick(SENSOR), dg.RunRequest)  # its turn has come
    lab.cursors[SENSOR] = "of an older version"
    lab.configure()
    assert isinstance(lab.tick(SENSOR), dg.RunRequest)


def test_no_second_run_is_asked_for_while_one_is_under_way(lab: Lab) -> None:
    lab.publish(recent(1))
    job = lab.definitions.resolve_job_def(JOB)
    run = lab.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert lab.tick(SENSOR) == f"a run is at work: {run.run_id}"
    assert isinstance(lab.tick("nats_dagster_compose"), dg.RunRequest)  # another job's


def test_a_run_that_was_never_started_stops_nobody(lab: Lab) -> None:
    lab.publish(recent(1))
    job = lab.definitions.resolve_job_def(JOB)
    lab.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    assert isinstance(lab.tick(SENSOR), dg.RunRequest)


def test_what_a_dead_run_had_pulled_asks_for_another_once_its_time_is_up(lab: Lab) -> None:
    lab.publish(recent(1))
    assert isinstance(lab.tick(SENSOR), dg.RunRequest)  # makes the durable
    asyncio.run(hand_out(lab))
    assert lab.tick(SENSOR) == "1 events are in the hands of a run"

    async def until_abandoned() -> dg.RunRequest | str:
        for _ in range(600):
            told = await asyncio.to_thread(lab.tick, SENSOR)
            if isinstance(told, dg.RunRequest):
                return told
            await asyncio.sleep(0.1)
        return told

    assert isinstance(asyncio.run(until_abandoned()), dg.RunRequest)
    assert lab.metadata(lab.run(JOB), "embedding_record")["rows_written"] == 1
    assert lab.tick(SENSOR) == "nothing new"


def test_a_sensor_says_what_is_missing(lab: Lab) -> None:
    lab.configure(nats=False)
    assert "not configured" in str(lab.tick(SENSOR))
    lab.configure()
    lab.kept.server.kill()
    assert str(lab.tick(SENSOR)).startswith("NATS: ")
    lab.file.write_text("[nats\n")
    assert "is not valid TOML" in str(lab.tick(SENSOR))
