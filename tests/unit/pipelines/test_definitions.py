"""The code location: its names, which others rely on, and that importing it does nothing."""

import subprocess
import sys

import dagster as dg
import pytest

from appliance.pipelines.definitions import build
from appliance.pipelines.resources import ApplianceResource
from appliance.pipelines.table import SUBJECTS

TOPICS = (
    "chat_persist", "embedding", "retrieve", "compose", "flow_lineage", "tool_call", "feedback",
)  # fmt: skip
ASSETS = {
    "chat_record", "chat_pair_record", "chat_pair_dataset", "embedding_record", "retrieve_record",
    "compose_record", "flow_lineage", "tool_call_record", "feedback_record", "knowledge_events",
}  # fmt: skip
_IMPORTING = """
import sys
import dagster
seen = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        read_only = not (arguments[1] or "r").strip("rb")
        if read_only and ("/appliance/" not in arguments[0] or ".py" in arguments[0]):
            return
        seen.append((event, arguments[0]))
    elif event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir"):
        seen.append((event, str(arguments)))

sys.dont_write_bytecode = True
sys.addaudithook(watch)
import logging
before = list(logging.getLogger().handlers)
import appliance.pipelines.definitions
assert not seen, seen
assert logging.getLogger().handlers == before
assert "pyarrow" not in sys.modules
assert "onnxruntime" not in sys.modules
"""


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build(ApplianceResource({})).get_repository_def()


def test_the_names_are_those_of_the_design(repository: dg.RepositoryDefinition) -> None:
    assert {sensor.name for sensor in repository.sensor_defs} == {
        f"nats_dagster_{topic}" for topic in TOPICS
    }
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {f"knowledge_{topic}" for topic in TOPICS} | {
        "knowledge_chat_pair_materialize",
        "chat_pair_dataset",
        "knowledge_backfill",
        "dagster_housekeeping",
    }
    assert {key.to_user_string() for key in repository.assets_defs_by_key} == ASSETS


def test_each_sensor_starts_its_own_job_and_is_on(repository: dg.RepositoryDefinition) -> None:
    for topic in TOPICS:
        sensor = repository.get_sensor_def(f"nats_dagster_{topic}")
        assert sensor.job_name == f"knowledge_{topic}"
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == 5
    for schedule in repository.schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_chat_goes_on_to_its_pair_and_to_what_is_known(
    repository: dg.RepositoryDefinition,
) -> None:
    job = repository.get_job("knowledge_chat_persist")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == {"chat_record", "chat_pair_record", "knowledge_events"}


def test_every_event_asset_is_checked(repository: dg.RepositoryDefinition) -> None:
    checks = {
        (key.asset_key.to_user_string(), key.name)
        for key in repository.asset_graph.asset_check_keys
    }
    for subject in SUBJECTS:
        assert {(subject.asset, "no_duplicates"), (subject.asset, "fresh")} <= checks
    assert ("flow_lineage", "no_orphans") in checks


def test_every_job_runs_in_one_process(repository: dg.RepositoryDefinition) -> None:
    executors = {job.executor_def.name for job in repository.get_all_jobs()}
    assert executors == {"in_process"}


def test_importing_it_connects_to_nothing_and_reads_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
