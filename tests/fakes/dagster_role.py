"""The two roles of Dagster as processes, on a code location and a database of the test's own.

`python -m tests.fakes.dagster_role {server|code} CONFIG STATE LISTEN` is such a process.
"""

import importlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from appliance.config import dagster_home
from appliance.config.load import load_config
from appliance.entrypoints.options import RunOptions
from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S

LOCATION = "tests.fakes.dagster_location"
_ROOT = Path(__file__).resolve().parents[2]


class DagsterRoles:
    """Both roles in `folder`, on the database of `dsn`."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.listen = f"127.0.0.1:{free_port()}"
        self.folder = folder
        self.dsn = dsn
        self.config_file = folder / "appliance.toml"
        self.config_file.write_text('[dagster]\ndsn = "env:TEST_DAGSTER_DSN"\nmax_runs = 2\n')
        self.marker = secrets.token_hex(8)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @property
    def home(self) -> Path:
        return self.folder / "state" / "dagster"

    @property
    def options(self) -> RunOptions:
        """What the processes are run with; TEST_DAGSTER_DSN must be in the environment."""
        return _options(str(self.config_file), str(self.folder / "state"), self.listen)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """`server` or `code`; returns at once."""
        words = [str(self.config_file), str(self.folder / "state"), self.listen]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.dagster_role", name, *words],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.folder,
                env={
                    **os.environ,
                    "TEST_DAGSTER_DSN": self.dsn,
                    "PYTHONPATH": str(_ROOT),
                    "TEST_MARKER": self.marker,
                },
            )
        self.processes[name] = process
        return process

    def wait_answers(self, timeout_s: float = WAIT_S) -> None:
        """Until the web server does."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                httpx.get(f"{self.url}/server_info", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                gone = [name for name, p in self.processes.items() if p.poll() is not None]
                assert not gone, "".join(self.log(name) for name in gone)
                assert time.monotonic() < deadline, self.log("server")
                time.sleep(0.1)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def others(self) -> dict[int, str]:
        """The run server and the runs: command lines by pid."""
        known = {process.pid for process in self.processes.values()}
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            pid = int(folder.name)
            ours = f"TEST_MARKER={self.marker}".encode() in environment
            if ours and pid not in known and state not in "ZX":
                found[pid] = command
        return found


def _options(config_file: str, state: str, listen: str) -> RunOptions:
    folder, file = Path(state), Path(config_file)
    dagster_home.private_folder(folder)
    return RunOptions(config=load_config(file), state=folder, listen=listen, config_file=file)


def main(name: str, *words: str) -> None:
    """Be one of the roles."""
    role = importlib.import_module(f"appliance.pipelines.{name}")
    role.run(_options(*words), LOCATION)


if __name__ == "__main__":
    main(*sys.argv[1:])
