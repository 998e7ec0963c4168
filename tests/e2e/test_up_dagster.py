"""`appliance up` with Dagster: after the gateway, beside it, and gone with it.

One `up` for the module; its last tests stop it, start it again and kill it.
"""

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes import until as wait
from tests.fakes.appliance import Appliance
from tests.fakes.dagster_instance import DagsterInstance
from tests.fakes.dagster_launch import launch
from tests.fakes.processes import is_alive
from tests.fakes.scripted_backend import ScriptedBackend

LATE = ("dagster-code", "dagster")
EARLY = ("postgres", "nats", "inference", "consumer", "gateway")


@pytest.fixture(scope="module")
def up(backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = tmp_path_factory.mktemp("up")
    with Appliance(folder, "--backend", backend.base_url, dagster=True) as running:
        yield running


def until(condition: Callable[[], object], up: Appliance, timeout_s: float = wait.WAIT_S) -> None:
    """Wait for `condition`; AssertionError with the output of `up` when it does not come."""
    wait.until(condition, lambda: up.output, timeout_s)


def page_answers(up: Appliance) -> bool:
    try:
        return httpx.get(f"{up.ready['dagster']}/server_info", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def started(pid: int) -> int:
    """When the process was, in ticks since this machine was."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def processes_of(state: Path) -> dict[int, str]:
    """Every process that was told of `state`, on its command line or in its environment."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(state) in told and is_alive(int(entry.name)):
            found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()[-200:]
    return found


def run_something(up: Appliance) -> None:
    """Begin a run; what runs it is then there, too."""
    before = processes_of(up.state)
    launch(DagsterInstance(up.ready["dagster"]), "dagster_housekeeping")
    until(lambda: set(processes_of(up.state)) - set(before), up)


def test_it_starts_once_the_gateway_is_ready(up: Appliance) -> None:
    pids = up.ready["pids"]
    assert set(pids) == {*EARLY, *LATE}
    assert max(started(pids[part]) for part in EARLY) < min(started(pids[part]) for part in LATE)
    said = up.output
    assert said.index("\nready in ") < said.index(f"\npipelines      {up.ready['dagster']} ")
    for part in LATE:
        assert said.index("Ctrl-C stops everything.") < said.index(f"\n  {part:<12} ready in ")


def test_its_page_is_where_the_ready_file_and_the_parts_file_say(up: Appliance) -> None:
    page = up.ready["dagster"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", page)
    assert "dagster_version" in httpx.get(f"{page}/server_info").json()
    assert json.loads((up.state / "parts.json").read_text())["dagster"] == page
    assert re.search(rf"^  dagster      ready in +[\d.]+ s   {page}$", up.output, re.MULTILINE)


def test_status_and_doctor_find_it_healthy(up: Appliance) -> None:
    status = up.command("status")
    assert status.returncode == 0, status.stdout
    assert re.search(rf"^dagster +\d+ +healthy +{up.ready['dagster']}$", status.stdout, re.M)
    assert re.search(r"^dagster-code +\d+ +healthy +/\S+/code-\S+\.sock$", status.stdout, re.M)
    doctor = up.command("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert re.search(r"^ok +dagster's database +dagster$", doctor.stdout, re.M)


def test_an_address_in_use_is_said_before_anything_is_made(up: Appliance, tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        file.write_text(f'[dagster]\nlisten = "127.0.0.1:{port}"\n')
        second = Appliance(tmp_path, "--config", str(file), dagster=True)
        with pytest.raises(AssertionError, match=rf"port {port} on 127\.0\.0\.1 is in use"):
            second.start()
    assert "[dagster] listen = 127.0.0.1:PORT" in second.output
    assert not second.state.exists()


def test_killed_it_comes_back_on_its_address(up: Appliance) -> None:
    before = up.ready
    pids = {part: up.signal(part, signal.SIGKILL) for part in LATE}
    for part, pid in pids.items():
        up.wait_restarted(part, pid)
        until(lambda part=part: f"  {part:<12} is back" in up.output, up)
    assert page_answers(up)
    assert up.ready | {"pids": None} == before | {"pids": None}
    assert {part: up.ready["pids"][part] for part in EARLY} == {
        part: before["pids"][part] for part in EARLY
    }


def test_stop_ends_all_of_it(up: Appliance) -> None:
    run_something(up)
    assert up.command("stop").returncode == 0
    assert up.process is not None
    assert up.process.wait(wait.WAIT_S) == 0
    assert processes_of(up.state) == {}
    said = up.output
    stopped = re.findall(r"^ +([\w-]+) +stopped in", said, re.MULTILINE)
    assert stopped == [*reversed(LATE), *("gateway", "consumer", "inference", "nats", "postgres")]


def test_killed_with_everything_nothing_of_it_stays(up: Appliance) -> None:
    assert up.process is not None
    if up.process.poll() is not None:  # the test before has stopped it
        up.start()
    assert page_answers(up)
    run_something(up)
    up.process.kill()
    up.process.wait()
    # What was just starting to run something, too.
    until(lambda: not processes_of(up.state), up)


def test_left_out_it_is_nowhere(up: Appliance, backend: ScriptedBackend) -> None:
    up.stop()  # if the test before has not killed it
    up.forget()
    with Appliance(up.state.parent, "--backend", backend.base_url) as without:
        assert without.ready["dagster"] is None
        assert set(without.ready["pids"]) == set(EARLY)
        status = without.command("status")
        assert status.returncode == 0, status.stdout
        assert "dagster" not in status.stdout
