"""`nats_server`: the real server with JetStream on a free loopback port; it can be frozen, killed,
restarted."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config.schema import NatsConfig

BINARY = Path(sys.executable).parent / "nats-server"


class NatsServer:
    """One server and its store; `config` is what a client needs."""

    def __init__(self, folder: Path, max_payload: int = 1024 * 1024) -> None:
        self.port = _free_port()
        self.config = NatsConfig(url=f"nats://127.0.0.1:{self.port}", token=secrets.token_hex(8))
        self._folder = folder
        self._max_payload = max_payload
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it accepts connections."""
        conf = self._folder / "nats.conf"
        conf.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'authorization {{ token: "{self.config.token}" }}\n'
            f"max_payload: {self._max_payload}\n"
            f'jetstream {{ store_dir: "{self._folder / "store"}" }}\n'
        )
        log = (self._folder / "nats.log").open("ab")
        self._process = subprocess.Popen([str(BINARY), "-c", str(conf)], stdout=log, stderr=log)
        log.close()
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError((self._folder / "nats.log").read_text())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for it to be gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Forget every stream; the server must be down."""
        shutil.rmtree(self._folder / "store", ignore_errors=True)


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder)
    server.start()
    yield server
    server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
