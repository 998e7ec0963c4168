"""What a run or a tick needs of the appliance: configuration, database, embeddings.

Read from the environment when a run or tick begins, never at import.  No value of it becomes run
config, a tag or metadata: the configuration holds secrets.
"""

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.config.load import load_config, user_config_file
from appliance.config.parts import parts_file
from appliance.config.schema import Config, ConsumerConfig
from appliance.domain.embeddings.ports import Embedder
from appliance.domain.errors import ConfigError
from appliance.entrypoints.knowledge import open_embedder
from appliance.infra.postgres.pool import PostgresPool

APPLIANCE = "appliance"  # the keys of the resources
EMBEDDING = "embedding"
STATE = "APPLIANCE_STATE"
CONFIG = "APPLIANCE_CONFIG"
_POOL_SIZE = 3  # a writer, what it settles, and a check beside it
# The files and variables that the configuration names (`file:`, `env:`) are read again after this.
_KEPT_S = 30.0
# A file that was written twice within a tick of the file system's clock has the same times.
_SETTLED_S = 2.0

_Mark = tuple[int, int, int]  # inode, mtime in ns, size


@dataclass(frozen=True, slots=True)
class _Kept:
    config: Config
    marks: list[_Mark | None]
    until: float


class ApplianceResource:
    """The appliance whose state folder is in APPLIANCE_STATE, configured by the file in
    APPLIANCE_CONFIG: either may be missing, as with `appliance run`.  Threads may share it;
    `now` is a monotonic clock in seconds."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._now = now
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    def config(self) -> Config:
        """As it is now: read again once a file of it changed, and every half minute for what those
        files name.  Raises ConfigError.

        Reading took 3.3 of the 11.6 CPU-ms of a sensor's tick (2 cores, Python 3.11).
        """
        file, state = self._environment.get(CONFIG), self.state()
        named = Path(file) if file else None
        with self._lock:
            marks = _marks(named or user_config_file(), state and parts_file(state))
            kept = self._kept
            if kept is not None and kept.marks == marks and self._now() < kept.until:
                return kept.config
            self._kept = None
            config = load_config(named, state=state)
            if _settled(marks):
                self._kept = _Kept(config, marks, self._now() + _KEPT_S)
            return config

    def state(self) -> Path | None:
        """The state folder, where one is known."""
        named = self._environment.get(STATE)
        return Path(named) if named else None

    @asynccontextmanager
    async def pool(self, config: Config) -> AsyncIterator[PostgresPool]:
        """Connections for the length of a step.  Raises ConfigError when there is no database."""
        if not config.postgres.dsn:
            raise ConfigError("no PostgreSQL is known ([postgres] dsn): the pipelines need one")
        async with PostgresPool(
            config.postgres.dsn,
            max_size=_POOL_SIZE,
            connect_timeout_s=config.postgres.connect_timeout_s,
        ) as pool:
            yield pool


class EmbeddingResource:
    """The inference role, whose vectors are named by the model that made them."""

    def __init__(self, appliance: ApplianceResource) -> None:
        self._appliance = appliance

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Embedder]:
        """For the length of a step.  Raises ConfigError when nobody said where the role is."""
        async with open_embedder(self._appliance.config()) as embedder:
            yield embedder


def as_dagster_consumes(config: Config) -> ConsumerConfig:
    """`[consumer]`, but a run that died keeps its messages for `[dagster] ack_wait_s`."""
    return msgspec.structs.replace(config.consumer, ack_wait_s=config.dagster.ack_wait_s)


def _marks(*files: Path | None) -> list[_Mark | None]:
    """What changes with each file; None for one that is not there."""
    return [_mark(file) if file is not None else None for file in files]


def _mark(file: Path) -> _Mark | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _settled(marks: list[_Mark | None]) -> bool:
    """Would another change be seen?"""
    before_ns = (time.time() - _SETTLED_S) * 1e9
    return all(mark is None or mark[1] < before_ns for mark in marks)
