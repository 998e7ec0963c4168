"""A small code location for tests of how Dagster runs: sensors that say why they skip, a job that
works, one that waits for a file, one that dies at once."""

import os
import signal
import time
from pathlib import Path

import dagster as dg


@dg.op
def work() -> int:
    print("worked")
    return 1


@dg.op
def wait() -> None:
    while not (Path(os.environ["DAGSTER_HOME"]) / "go").exists():
        time.sleep(0.05)


@dg.op
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.job(executor_def=dg.in_process_executor)
def works() -> None:
    work()


@dg.job(executor_def=dg.in_process_executor)
def waits() -> None:
    wait()


@dg.job(executor_def=dg.in_process_executor)
def dies() -> None:
    die()


def _sensor(name: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        job=works,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def looks(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        under_way = context.instance.get_runs_count(dg.RunsFilter(job_name="works"))
        return dg.SkipReason(f"nothing waits, {under_way} runs so far")

    return looks


defs = dg.Definitions(jobs=[works, waits, dies], sensors=[_sensor(f"looks_{n}") for n in range(6)])
