"""A real gateway in its own process, on a free port, with a spool of its own."""

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


class GatewayProcess:
    """`appliance run --role gateway`; `log` is what it wrote so far."""

    def __init__(self, folder: Path, config: str, *arguments: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "gateway.toml"
        self.spool = folder / "spool"
        self.config.write_text(f'{config}\n[spool]\ndir = "{self.spool}"\n', encoding="utf-8")
        self._arguments = arguments
        self._log = folder / "gateway.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "GatewayProcess":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; AssertionError with its log when it does not."""
        command = [sys.executable, "-m", "appliance", "run", "--role", "gateway"]
        command += ["--config", str(self.config), *self._arguments]
        if "--listen" not in self._arguments:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        env = {**os.environ, "XDG_STATE_HOME": str(self.folder / "xdg")}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the gateway did not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT_S)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_S)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The JSON lines it logged."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_log(self, event: str, timeout_s: float = WAIT_S, **fields: Any) -> dict[str, Any]:
        """The first line with this event and these fields; AssertionError when none comes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.log:
                if line["event"] == event and fields.items() <= line.items():
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no {event} with {fields} in:\n{self._log.read_text()}")


def backend_config(base_url: str, *, more: str = "", name: str = "scripted") -> str:
    """A configuration with one backend, which is the default and is not retried for long."""
    return f"""
[routing]
default_backend = "{name}"
retries = 1
retry_backoff_s = 0.05
[[backends]]
name = "{name}"
kind = "openai-compatible"
base_url = "{base_url}"
{more}
"""
