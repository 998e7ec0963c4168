"""Dagster as its operators meet it: through the GraphQL of its web server.

    dagster = DagsterInstance(appliance.ready["dagster"])
    (run,) = dagster.runs("knowledge_embedding", trace_id=trace_id)
    assert dagster.wait_run(run.run_id).status == "SUCCESS"

One that is being restarted is waited for.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.fakes.until import until

WAIT_S = 120.0
UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_RUNS = """query($filter: RunsFilter, $limit: Int) {
  runsOrError(filter: $filter, limit: $limit) { __typename ... on Runs { results {
    runId jobName status creationTime startTime endTime tags { key value } } } } }"""
_MATERIALISATIONS = """query($path: [String!]!, $limit: Int) {
  assetOrError(assetKey: {path: $path}) { __typename ... on Asset {
    assetMaterializations(limit: $limit) { runId timestamp metadataEntries { label __typename
      ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
      ... on TextMetadataEntry { text } ... on TimestampMetadataEntry { timestamp }
      ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString }
      ... on BoolMetadataEntry { boolValue } } } } } }"""
_CHECKS = """query($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) { __typename ... on AssetNode {
    assetChecksOrError { __typename ... on AssetChecks { checks { name
      executionForLatestMaterialization { status runId
        evaluation { success severity description } } } } } } } }"""
_REPOSITORY = """{ repositoriesOrError { __typename ... on RepositoryConnection {
  nodes { name location { name } sensors { name } jobs { name } assetNodes { assetKey { path } } }
} } }"""
_TICKS = """query($sensor: SensorSelector!, $limit: Int) {
  sensorOrError(sensorSelector: $sensor) { __typename ... on Sensor { sensorState { status
    ticks(limit: $limit) { status timestamp endTimestamp skipReason runIds
      error { message } } } } } }"""
_START = """mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename } }"""
_STOP = """mutation($id: String!) { stopSensor(id: $id) { __typename } }"""
_SENSOR_ID = """query($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { __typename ... on Sensor { id } } }"""
_VALUES = ("intValue", "floatValue", "text", "timestamp", "mdStr", "jsonString", "boolValue")


@dataclass(frozen=True, slots=True)
class Run:
    """Times are seconds since 1970, None while they have not come."""

    run_id: str
    job: str
    status: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Materialisation:
    """`metadata` by label: numbers and texts as they are, everything else is None."""

    run_id: str
    at: float
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tick:
    """`said`: why it asked for no run, or what went wrong."""

    status: str
    duration_s: float | None
    said: str
    run_ids: tuple[str, ...]


class DagsterInstance:
    """`url` is the base of its web server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._location: dict[str, str] = {}

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        body = {"query": text, "variables": variables}
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                answer = httpx.post(f"{self.url}/graphql", json=body, timeout=30)
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert "errors" not in told, told["errors"]
        data: dict[str, Any] = told["data"]
        return data

    def repository(self) -> dict[str, Any]:
        """Its sensors, jobs and assets, once the code location is there."""

        def loaded() -> list[dict[str, Any]]:
            told = self.query(_REPOSITORY)["repositoriesOrError"]
            found: list[dict[str, Any]] = told.get("nodes", [])
            return found

        self.until(lambda: bool(loaded()), lambda: "the code location is not loaded")
        return loaded()[0]

    def runs(self, job: str = "", most: int = 1000, **tags: str) -> list[Run]:
        """The newest first; `tags` they must have."""
        wanted = [{"key": key, "value": value} for key, value in tags.items()]
        chosen: dict[str, Any] = {"tags": wanted} if wanted else {}
        if job:
            chosen["pipelineName"] = job
        return self._runs(chosen, most)

    def run(self, run_id: str) -> Run:
        """One of them."""
        (found,) = self._runs({"runIds": [run_id]}, 1)
        return found

    def under_way(self, job: str = "") -> list[Run]:
        """Those that are asked for and have not come to their end."""
        return [run for run in self.runs(job) if run.status in UNDER_WAY]

    def wait_run(self, run_id: str, timeout_s: float = WAIT_S) -> Run:
        """The run, once it has come to its end."""
        self.until(
            lambda: self.run(run_id).status not in UNDER_WAY,
            lambda: f"{self.run(run_id)} does not end",
            timeout_s,
        )
        return self.run(run_id)

    def materialisations(self, asset: str, most: int = 200) -> list[Materialisation]:
        """The newest first; none of an asset Dagster has not seen."""
        told = self.query(_MATERIALISATIONS, path=[asset], limit=most)["assetOrError"]
        return [
            Materialisation(
                one["runId"],
                float(one["timestamp"]) / 1000,
                {entry["label"]: _value(entry) for entry in one["metadataEntries"]},
            )
            for one in told.get("assetMaterializations", [])
        ]

    def checks(self, asset: str) -> dict[str, str]:
        """What came of every check of `asset` at its newest materialisation; "" while nothing."""
        told = self.query(_CHECKS, path=[asset])["assetNodeOrError"]["assetChecksOrError"]
        latest = {c["name"]: c["executionForLatestMaterialization"] for c in told["checks"]}
        return {name: one["status"] if one else "" for name, one in latest.items()}

    def ticks(self, sensor: str, most: int = 100) -> list[Tick]:
        """The newest first."""
        told = self.query(_TICKS, sensor=self._selector(sensor), limit=most)["sensorOrError"]
        return [
            Tick(
                tick["status"],
                tick["endTimestamp"] and tick["endTimestamp"] - tick["timestamp"],
                tick["skipReason"] or (tick["error"] or {}).get("message", ""),
                tuple(tick["runIds"]),
            )
            for tick in told["sensorState"]["ticks"]
        ]

    def is_running(self, sensor: str) -> bool:
        """Does it tick?"""
        told = self.query(_TICKS, sensor=self._selector(sensor), limit=1)["sensorOrError"]
        return bool(told["sensorState"]["status"] == "RUNNING")

    def stopping(self, sensor: str) -> str:
        """A URL that stops it when something is sent there with POST, whatever that is."""
        told = self.query(_SENSOR_ID, sensor=self._selector(sensor))["sensorOrError"]
        asked = {"query": _STOP, "variables": json.dumps({"id": told["id"]})}
        return f"{self.url}/graphql?{urlencode(asked)}"

    def stop_sensor(self, sensor: str) -> None:
        """It ticks no more, until it is started."""
        answer = httpx.post(self.stopping(sensor), timeout=30).json()["data"]["stopSensor"]
        assert answer["__typename"] == "StopSensorMutationResult", answer

    def start_sensor(self, sensor: str) -> None:
        started = self.query(_START, sensor=self._selector(sensor))["startSensor"]
        assert started["__typename"] == "Sensor", started

    def until(
        self,
        claim: Callable[[], object],
        otherwise: Callable[[], object] = lambda: "it did not come to pass",
        timeout_s: float = WAIT_S,
    ) -> None:
        """See until."""
        until(claim, otherwise, timeout_s)

    def _runs(self, chosen: Mapping[str, Any], most: int) -> list[Run]:
        told = self.query(_RUNS, filter=chosen, limit=most)["runsOrError"]
        return [
            Run(
                run["runId"],
                run["jobName"],
                run["status"],
                run["creationTime"],
                run["startTime"],
                run["endTime"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in told["results"]
        ]

    def _selector(self, sensor: str) -> dict[str, str]:
        return {"sensorName": sensor, **self._repository_selector()}

    def _repository_selector(self) -> dict[str, str]:
        if not self._location:
            found = self.repository()
            name, location = found["name"], found["location"]["name"]
            self._location = {"repositoryName": name, "repositoryLocationName": location}
        return self._location


def _value(entry: Mapping[str, Any]) -> Any:
    return next((entry[name] for name in _VALUES if name in entry), None)
