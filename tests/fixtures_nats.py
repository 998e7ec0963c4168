"""`nats_server`: the real server with JetStream on a free loopback port; it can be frozen, killed,
restarted.  `nats_cluster`: three of them."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import nats
import nats.errors
import pytest

from appliance.config.schema import NatsConfig
from tests.fakes.ports import free_port
from tests.fakes.until import until

BINARY = Path(sys.executable).parent / "nats-server"


class NatsServer:
    """One server and its store; `config` is what a client needs.  `access` is who may do what when
    it is not the token, `more` further lines of the server's configuration."""

    def __init__(
        self,
        folder: Path,
        max_payload: int = 1024 * 1024,
        *,
        token: str = "",
        access: str = "",
        more: str = "",
    ) -> None:
        self.port = free_port()
        self.config = NatsConfig(
            url=f"nats://127.0.0.1:{self.port}", token=token or secrets.token_hex(8)
        )
        self._folder = folder
        self._max_payload = max_payload
        self._access = access or f'authorization {{ token: "{self.config.token}" }}'
        self._more = more
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
            f"{self._access}\n"
            f"max_payload: {self._max_payload}\n"
            f'jetstream {{ store_dir: "{self._folder / "store"}" }}\n{self._more}'
        )
        log = (self._folder / "nats.log").open("ab")
        self._process = subprocess.Popen([str(BINARY), "-c", str(conf)], stdout=log, stderr=log)
        log.close()
        until(self._listens, (self._folder / "nats.log").read_text)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait for it to be gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wipe(self) -> None:
        """Forget every stream; the server must be down."""
        shutil.rmtree(self._folder / "store", ignore_errors=True)


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    folder = tmp_path / "nats"
    folder.mkdir()
    server = NatsServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class NatsCluster:
    """Three servers that route to each other; `config` has the addresses of all."""

    def __init__(self, folder: Path) -> None:
        token = secrets.token_hex(8)
        ports = [free_port() for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers: list[NatsServer] = []
        for number, port in enumerate(ports):
            own = folder / f"nats{number}"
            own.mkdir()
            more = (
                f"server_name: n{number}\n"
                f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n'
            )
            self.servers.append(NatsServer(own, token=token, more=more))
        urls = ",".join(server.config.url for server in self.servers)
        self.config = NatsConfig(url=urls, token=token, replicas=3)

    async def start(self) -> None:
        """Returns when all three are there and have agreed on who leads."""
        for server in self.servers:
            server.start()
        client = await nats.connect(self.config.url.split(","), token=self.config.token)
        try:
            js = client.jetstream(timeout=1)
            for _ in range(300):
                with suppress(nats.errors.Error):
                    await js.add_stream(name="READY", subjects=["ready"], num_replicas=3)
                    await js.delete_stream("READY")
                    return
                await asyncio.sleep(0.1)
        finally:
            await client.close()
        raise RuntimeError("the cluster has no leader")

    def kill(self) -> None:
        """kill -9 of all."""
        for server in self.servers:
            server.kill()


@pytest.fixture
async def nats_cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    cluster = NatsCluster(tmp_path)
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.kill()
