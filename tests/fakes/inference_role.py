"""The inference role as a process of a test's own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S


@dataclass(frozen=True)
class Role:
    """A running role; `log` is the file of its standard error."""

    url: str
    log: Path

    def line(self, key: str, value: str) -> dict[str, Any]:
        """The log line with this field; it may be written a moment after the answer."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for text in self.log.read_text().splitlines():
                if text.endswith("}") and (line := json.loads(text))[key] == value:
                    return dict(line)
            time.sleep(0.02)
        raise AssertionError(f"no line with {key} {value!r} in:\n{self.log.read_text()}")


def command(folder: Path, model: Path, port: int, more: str = "") -> list[str]:
    """What starts it; `more` are lines of `[inference]`, and tables after it."""
    config = folder / "role.toml"
    config.write_text(
        f'[inference]\nmodel_dir = "{model}"\nmax_batch_tokens = 512\nmax_queue = 300\n{more}'
    )
    listen = f"127.0.0.1:{port}"
    return [
        *(sys.executable, "-m", "appliance", "run", "--role", "inference"),
        *("--config", str(config), "--listen", listen),
    ]


@contextmanager
def running(folder: Path, model: Path, more: str = "") -> Iterator[Role]:
    """Started, and answering until the end of the block; `more` as for `command`."""
    port = free_port()
    log = folder / "role.log"
    role = Role(f"http://127.0.0.1:{port}", log)
    with log.open("wb") as out:
        process = subprocess.Popen(command(folder, model, port, more), stderr=out)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                httpx.get(f"{role.url}/healthz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield role
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0
