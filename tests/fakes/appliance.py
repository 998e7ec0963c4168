"""A whole appliance, `appliance up`, on a state folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S

READY_WITHIN_S = 120


class Appliance:
    """`ready` is the ready file as it is now; `command` runs one of the appliance's commands.

    Without Dagster, unless it is asked for: it costs six seconds of a core.
    """

    def __init__(self, folder: Path, *arguments: str, dagster: bool = False) -> None:
        self.state = folder / "state"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._ready_file = folder / "ready.json"
        self._log = folder / "up.log"
        self._arguments = arguments if dagster else ("--without", "dagster", *arguments)
        self._env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "xdg")}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Appliance":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> float:
        """Start and wait until all is healthy; the seconds that took."""
        begun = time.monotonic()
        command = [sys.executable, "-m", "appliance", "up", "--state", str(self.state)]
        command += ["--listen", self.url.removeprefix("http://"), "--no-ask", "--no-discover"]
        command += ["--ready-file", str(self._ready_file), *self._arguments]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )
        while not self._ready_file.exists():
            if self.process.poll() is not None or time.monotonic() - begun > READY_WITHIN_S:
                raise AssertionError(f"the appliance did not come up:\n{self.output}")
            time.sleep(0.05)
        return time.monotonic() - begun

    def stop(self) -> int:
        """SIGTERM, as Ctrl-C; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(WAIT_S)

    def forget(self) -> None:
        """Remove what an `up` that was killed left behind for its readers."""
        self._ready_file.unlink(missing_ok=True)

    def signal(self, part: str, number: signal.Signals) -> int:
        """Send a part's process a signal; its pid."""
        pid: int = self.ready["pids"][part]
        os.kill(pid, number)
        return pid

    def wait_restarted(self, part: str, old_pid: int, timeout_s: float = WAIT_S) -> None:
        """Until the ready file names another pid for `part`."""
        deadline = time.monotonic() + timeout_s
        while self.ready["pids"].get(part) in (None, old_pid):
            assert time.monotonic() < deadline, f"{part} was not restarted:\n{self.output}"
            time.sleep(0.05)

    def wait_answering(self, timeout_s: float = WAIT_S) -> None:
        """Until the gateway takes connections."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=5)
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline, self.output
                time.sleep(0.05)

    @property
    def ready(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._ready_file.read_text())
        return content

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def command(
        self, *words: str, timeout_s: float = 2 * WAIT_S
    ) -> subprocess.CompletedProcess[str]:
        """`appliance WORDS --state STATE`, finished."""
        return subprocess.run(
            [sys.executable, "-m", "appliance", words[0], "--state", str(self.state), *words[1:]],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self._env,
            check=False,
        )
