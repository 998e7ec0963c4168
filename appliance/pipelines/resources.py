"""What a run or a tick needs of the appliance: configuration, database, embeddings.

Read from the environment when a run or tick begins, never at import.  No value of it becomes run
config, a tag or metadata: the configuration holds secrets.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from appliance.config.load import load_config
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


class ApplianceResource:
    """The appliance whose state folder is in APPLIANCE_STATE, configured by the file in
    APPLIANCE_CONFIG: either may be missing, as with `appliance run`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def config(self) -> Config:
        """As it is now.  Raises ConfigError."""
        file, state = self._environment.get(CONFIG), self.state()
        return load_config(Path(file) if file else None, state=state)

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
