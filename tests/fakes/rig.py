"""The roles one by one, beside a NATS and a PostgreSQL that the test holds in its hand.

    rig = Rig(folder, backend.base_url, nats.config, dsn)
    with rig.consumer(), rig.gateway(spool="max_bytes = 65536") as gateway:
        with gateway.load() as load:
            ...

`SmallDisk` is a disk that can be filled.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from appliance.config.schema import NatsConfig
from appliance.infra.embedded.nats import MAX_PAYLOAD_BYTES
from tests.fakes.gateway import backend_config
from tests.fakes.load import MIX, Load
from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S
from tests.fixtures_nats import BINARY


class Nats:
    """A JetStream server; `config` is what a client needs.  `jetstream`: further lines of that
    block; `prefix` is put before the command."""

    def __init__(
        self,
        folder: Path,
        *,
        store: Path | None = None,
        max_payload: int = MAX_PAYLOAD_BYTES,
        jetstream: str = "",
        prefix: Sequence[str] = (),
    ) -> None:
        self._folder = folder / "nats"
        self._folder.mkdir(exist_ok=True)
        self._port = free_port()
        token = secrets.token_hex(8)
        self.config = NatsConfig(url=f"nats://127.0.0.1:{self._port}", token=token)
        self.url = f"nats://{token}@127.0.0.1:{self._port}"
        self.jetstream = jetstream
        self._max_payload = max_payload
        self._store = store or self._folder / "store"
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Nats":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return when it takes connections."""
        conf, log = self._folder / "nats.conf", self._folder / "nats.log"
        conf.write_text(
            f'listen: "127.0.0.1:{self._port}"\nmax_payload: {self._max_payload}\n'
            f'authorization {{ token: "{self.config.token}" }}\n'
            f'jetstream {{ store_dir: "{self._store}"\n{self.jetstream}\n}}\n'
        )
        with log.open("ab") as out:
            command = [*self._prefix, str(BINARY), "-c", str(conf)]
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + WAIT_S
        while not _listens(self._port):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)


class Role:
    """`appliance run --role NAME`; `prefix` is put before the command."""

    def __init__(
        self, folder: Path, name: str, config: Path, *words: str, prefix: Sequence[str] = ()
    ) -> None:
        self.log = folder / f"{name}.log"
        self._command = [*prefix, sys.executable, "-m", "appliance", "run", "--role", name]
        self._command += ["--config", str(config), *words]
        self._env = {**os.environ, "XDG_STATE_HOME": str(folder / "xdg")}
        self._began_at = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(WAIT_S)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._began_at = log.tell()
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(WAIT_S)

    def wait_log(self, event: str, timeout_s: float = WAIT_S) -> None:
        """Until it has logged `event` since its start."""
        deadline = time.monotonic() + timeout_s
        while f'"event":"{event}"' not in (told := self._told()):
            assert self._process is not None
            over = time.monotonic() > deadline or self._process.poll() is not None
            assert not over, f"no {event} in:\n{told[-3000:]}"
            time.sleep(0.02)

    def _told(self) -> str:
        return self.log.read_bytes()[self._began_at :].decode(errors="replace")


class Gateway(Role):
    """Its address, what it says of itself, and traffic for it."""

    def __init__(self, folder: Path, config: Path, prefix: Sequence[str]) -> None:
        listen = f"127.0.0.1:{free_port()}"
        super().__init__(folder, "gateway", config, "--listen", listen, prefix=prefix)
        self.url = f"http://{listen}"
        self._folder = folder

    def start(self) -> None:
        """Return when it listens."""
        super().start()
        self.wait_log("listening")

    def load(self, mix: Sequence[str] = MIX, name: str = "load") -> Load:
        """Fifty requests a second; a second load of a test has another `name`."""
        return Load(self.url, self._folder, name=name, mix=mix)

    def ready(self) -> dict[str, Any]:
        """What `/ready` says."""
        body: dict[str, Any] = httpx.get(f"{self.url}/ready", timeout=10).json()
        return body

    def wait_part(self, part: str, ok: bool, timeout_s: float = WAIT_S) -> None:
        """Until `/ready` calls `part` ok, or not ok."""
        deadline = time.monotonic() + timeout_s
        while ((told := self.ready()["parts"])[part] == "ok") is not ok:
            assert time.monotonic() < deadline, f"{part} is {told[part]!r}"
            time.sleep(0.02)

    def metric(self, name: str) -> float:
        """One number of `/metrics`."""
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in the metrics"
        return float(found[1])

    def wait_waiting(self, count: int, timeout_s: float = WAIT_S) -> None:
        """Until at least `count` records wait in the spool."""
        deadline = time.monotonic() + timeout_s
        while (depth := self.metric("appliance_spool_records")) < count:
            assert time.monotonic() < deadline, f"only {depth:g} records wait in the spool"
            time.sleep(0.05)

    def wait_shipped(self, timeout_s: float = WAIT_S) -> None:
        """Until nothing waits in the spool."""
        deadline = time.monotonic() + timeout_s
        while depth := self.metric("appliance_spool_records"):
            assert time.monotonic() < deadline, f"{depth:g} records wait in the spool"
            time.sleep(0.05)


class Rig:
    """Configurations for the roles: one backend, one NATS, one database."""

    def __init__(self, folder: Path, backend: str, nats: NatsConfig, dsn: str) -> None:
        self._folder = folder
        self._backend = backend
        self._nats = nats
        (folder / "dsn").write_text(dsn)
        (folder / "token").write_text(nats.token)

    def gateway(self, spool: str = "", prefix: Sequence[str] = ()) -> Gateway:
        """`spool`: further lines of that table."""
        more = "max_in_flight = 1024\nmax_queue = 1024\n"
        text = backend_config(self._backend, more=more) + self._parts()
        text += f'[spool]\ndir = "{self.spool}"\n{spool}\n'
        return Gateway(self._folder, self._config("gateway", text), prefix)

    def consumer(self) -> Role:
        """It need not be waited for."""
        text = self._parts() + "[consumer]\nack_wait_s = 3.0\n"
        return Role(self._folder, "consumer", self._config("consumer", text))

    @property
    def spool(self) -> Path:
        """The gateway's."""
        return self._folder / "spool"

    def _parts(self) -> str:
        nats = f'[nats]\nurl = "{self._nats.url}"\ntoken = "file:token"\n'
        return f'{nats}[postgres]\ndsn = "file:dsn"\n'

    def _config(self, name: str, text: str) -> Path:
        config = self._folder / f"{name}.toml"
        config.write_text(text)
        return config


class SmallDisk:
    """A file system of `size_bytes` at `folder`, for processes started behind `prefix`.

    It lives in a mount namespace: root makes one, others make a user namespace around it.  Where
    neither is allowed it cannot be had, and that is an error.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        folder.mkdir(exist_ok=True)
        self.prefix: tuple[str, ...] = ()
        self._folder = folder
        self._size_bytes = size_bytes
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> "SmallDisk":
        said = []
        for options, enter in (("-m", ("-m",)), ("-rm", ("-U", "-m", "--preserve-credentials"))):
            holder = self._hold(options)
            assert holder.stdout is not None
            said.append(holder.stdout.readline())
            if said[-1] == "mounted\n":
                self._holder = holder
                self.prefix = ("nsenter", "-t", str(holder.pid), *enter, "--")
                return self
            holder.wait(WAIT_S)
        raise AssertionError(f"no tmpfs can be mounted, as root or in a user namespace: {said}")

    def __exit__(self, *exc: object) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait(WAIT_S)

    def fill(self) -> None:
        """Until not one byte more fits."""
        block = bytes(65536)
        with (self.inside / "filler").open("wb", buffering=0) as filler:
            while block:
                try:
                    filler.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def free(self) -> None:
        """Take away what `fill` wrote."""
        (self.inside / "filler").unlink()

    @property
    def inside(self) -> Path:
        """Its root, as this process reaches it."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self._folder}")

    def _hold(self, options: str) -> "subprocess.Popen[str]":
        script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && echo mounted && exec sleep infinity'
        words = ["unshare", options, "sh", "-c", script, "sh"]
        return subprocess.Popen(
            [*words, str(self._size_bytes), str(self._folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
