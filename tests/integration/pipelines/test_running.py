"""Dagster as it really runs: both roles, a PostgreSQL of their own, a small code location."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.fakes.dagster_instance import DagsterInstance
from tests.fakes.dagster_launch import launch
from tests.fakes.dagster_role import DagsterRoles
from tests.fakes.postgres import Cluster
from tests.fakes.until import until

_SENSORS = [f"looks_{n}" for n in range(6)]
_FAILURE = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  __typename ... on MessageEvent { message } } } } }"""
_TERMINATE = """mutation($id: String!) { terminateRun(runId: $id) { __typename } }"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL that may be killed here."""
    cluster = Cluster(tmp_path_factory.mktemp("dagster-postgres"))
    try:
        asyncio.run(cluster.create())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[DagsterRoles]:
    """Both roles, started at once on an empty database."""
    roles = DagsterRoles(tmp_path_factory.mktemp("dagster"), cluster.create_database())
    try:
        roles.start("code")
        roles.start("server")
        roles.wait_answers()
        yield roles
    finally:
        roles.stop()


@pytest.fixture(scope="module")
def dagster(roles: DagsterRoles) -> DagsterInstance:
    """The same through its GraphQL."""
    return DagsterInstance(roles.url)


def _messages(dagster: DagsterInstance, run_id: str) -> str:
    events = dagster.query(_FAILURE, id=run_id)["logsForRun"]["events"]
    return "\n".join(event.get("message", "") for event in events)


def _waiting(dagster: DagsterInstance, roles: DagsterRoles) -> str:
    """A run that has begun to wait for the file `go`."""
    (roles.home / "go").unlink(missing_ok=True)
    run_id = launch(dagster, "waits")
    dagster.until(lambda: dagster.run(run_id).status == "STARTED")
    return run_id


def test_a_run_succeeds_and_what_it_printed_is_kept(
    dagster: DagsterInstance, roles: DagsterRoles
) -> None:
    run_id = launch(dagster, "works")
    assert dagster.wait_run(run_id).status == "SUCCESS"
    logs = roles.home / "storage" / run_id / "compute_logs"
    assert [file.read_text() for file in logs.glob("*.out")] == ["worked\n"]


def test_a_run_that_was_killed_is_marked_failed_and_the_next_one_starts(
    dagster: DagsterInstance,
) -> None:
    killed = launch(dagster, "dies")
    assert dagster.wait_run(killed).status == "FAILURE"
    assert "Its process ended by signal SIGKILL" in _messages(dagster, killed)
    assert dagster.wait_run(launch(dagster, "works")).status == "SUCCESS"


def test_a_run_is_ended_on_demand(dagster: DagsterInstance, roles: DagsterRoles) -> None:
    run_id = _waiting(dagster, roles)
    ended = dagster.query(_TERMINATE, id=run_id)["terminateRun"]
    assert ended["__typename"] == "TerminateRunSuccess"
    assert dagster.wait_run(run_id).status == "CANCELED"


def test_many_runs_do_not_start_at_once(dagster: DagsterInstance, roles: DagsterRoles) -> None:
    runs = [_waiting(dagster, roles), _waiting(dagster, roles)]
    runs += [launch(dagster, "waits") for _ in range(2)]
    dagster.until(lambda: [dagster.run(run).status for run in runs[2:]] == ["QUEUED"] * 2)
    (roles.home / "go").touch()
    assert {dagster.wait_run(run).status for run in runs} == {"SUCCESS"}


def test_a_run_server_that_was_killed_takes_its_runs_along_and_is_replaced(
    dagster: DagsterInstance, roles: DagsterRoles
) -> None:
    run_id = _waiting(dagster, roles)
    os.kill(_run_server(roles), signal.SIGKILL)
    assert dagster.wait_run(run_id).status == "FAILURE"
    assert "The run server died" in _messages(dagster, run_id)
    assert dagster.wait_run(launch(dagster, "works")).status == "SUCCESS"


def test_a_dagster_process_that_was_killed_takes_its_runs_along_and_the_next_one_marks_them(
    dagster: DagsterInstance, roles: DagsterRoles
) -> None:
    run_id = _waiting(dagster, roles)
    (run,) = _children(_run_server(roles), roles)
    os.kill(run, signal.SIGSTOP)  # so that it cannot say in time that it was interrupted
    roles.kill("server")
    until(lambda: not roles.others(), roles.others)
    roles.start("server")
    roles.wait_answers()
    assert dagster.wait_run(run_id).status == "FAILURE"
    assert "has ended without a word" in _messages(dagster, run_id)


def test_every_sensor_ticks_and_ticks_and_runs_go_on_after_postgresql_was_killed(
    dagster: DagsterInstance, cluster: Cluster, roles: DagsterRoles
) -> None:
    process = roles.processes["server"].pid
    for sensor in _SENSORS:  # there have been many by now
        dagster.until(lambda sensor=sensor: len(dagster.ticks(sensor)) >= 2)  # type: ignore[misc]
        assert dagster.ticks(sensor)[1].said.startswith("nothing waits, ")
    cluster.kill()
    cluster.start()
    before = {sensor: len(dagster.ticks(sensor)) for sensor in _SENSORS}
    assert dagster.wait_run(launch(dagster, "works")).status == "SUCCESS"
    for sensor in _SENSORS:
        # Two more: the first may have begun before.
        dagster.until(lambda sensor=sensor: len(dagster.ticks(sensor)) >= before[sensor] + 2)  # type: ignore[misc]
        assert dagster.ticks(sensor)[1].said.startswith("nothing waits")
    assert roles.processes["server"].poll() is None
    assert roles.processes["server"].pid == process


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_other_hosts_and_origins_are_refused_on_http_and_websocket(
    roles: DagsterRoles, headers: dict[str, str]
) -> None:
    answer = httpx.post(f"{roles.url}/graphql", json={"query": "{ version }"}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"][:10]) == (403, "text/plain")
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{roles.listen}/graphql", additional_headers=headers, subprotocols=_WS)
    assert caught.value.response.status_code == 403


def test_its_own_page_may_ask_on_http_and_websocket(roles: DagsterRoles) -> None:
    own = {"Origin": roles.url}
    answer = httpx.post(f"{roles.url}/graphql", json={"query": "{ version }"}, headers=own)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    with connect(
        f"ws://{roles.listen}/graphql", origin=Origin(roles.url), subprotocols=_WS
    ) as socket:
        socket.send('{"type": "connection_init"}')
        assert "connection_ack" in str(socket.recv(timeout=60))


def test_the_password_is_nowhere_to_be_read(dagster: DagsterInstance, roles: DagsterRoles) -> None:
    password = str(conninfo_to_dict(roles.dsn)["password"])
    run_id = launch(dagster, "works")
    dagster.wait_run(run_id)
    pids = [*roles.others(), *(process.pid for process in roles.processes.values())]
    shown = [
        str(dagster.query("{ instance { info } }")).encode(),
        _messages(dagster, run_id).encode(),
        *(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids),
        *(file.read_bytes() for file in roles.home.rglob("*") if file.is_file()),
        *(roles.log(name).encode() for name in ("server", "code")),
    ]
    assert "DAGSTER_POSTGRES_URL" in (roles.home / "dagster.yaml").read_text()
    assert not [text for text in shown if password.encode() in text]


def test_it_ends_within_seconds_with_its_runs(
    dagster: DagsterInstance, roles: DagsterRoles
) -> None:
    _waiting(dagster, roles)
    process = roles.processes["server"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    until(lambda: not roles.others(), roles.others)


def test_a_second_role_stands_by_until_the_first_has_ended_although_postgresql_was_frozen(
    roles: DagsterRoles, cluster: Cluster, tmp_path: Path
) -> None:
    first = roles.start("server")
    roles.wait_answers()
    second = DagsterRoles(tmp_path, roles.dsn)
    second.start("server")
    try:
        until(lambda: _status(second) == 503, lambda: second.log("server"))
        cluster.freeze()
        second.start("code")
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        until(lambda: '"for":"the database"' in second.log("code"), lambda: second.log("code"))
        cluster.thaw()
        until(lambda: _status(second) == 200, lambda: second.log("server"))
        assert "Traceback" not in second.log("code")
    finally:
        cluster.thaw()
        second.stop()


def _status(roles: DagsterRoles) -> int:
    """Of its page; 0 while nobody answers."""
    try:
        return httpx.get(f"{roles.url}/server_info", timeout=60).status_code
    except httpx.TransportError:
        return 0


_WS = [Subprotocol("graphql-ws")]


def _run_server(roles: DagsterRoles) -> int:
    (pid,) = _children(roles.processes["server"].pid, roles)
    return pid


def _children(parent: int, roles: DagsterRoles) -> set[int]:
    found = Path(f"/proc/{parent}/task").glob("*/children")
    return {int(pid) for children in found for pid in children.read_text().split()} & set(
        roles.others()
    )
