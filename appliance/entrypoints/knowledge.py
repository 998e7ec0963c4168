"""What the knowledge commands (ingest, documents, search) need of a running appliance, wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.domain.knowledge.workspace import is_workspace
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore

_TIMEOUT_S = 120.0  # a command may wait for a large document; the gateway has limits of its own
_WHERE = (
    "start an appliance (`appliance up`), name its state folder (--state DIR), or set it in the "
    "configuration of this host"
)


@asynccontextmanager
async def open_store(config: Config) -> AsyncIterator[PgVectorStore]:
    """The stored documents.  Raises ConfigError when nobody said where PostgreSQL is."""
    if not config.postgres.dsn:
        raise ConfigError(f"no PostgreSQL is known ([postgres] dsn): {_WHERE}")
    async with PostgresPool(
        config.postgres.dsn,
        max_size=config.postgres.pool_max,
        connect_timeout_s=config.postgres.connect_timeout_s,
        timeout_s=_TIMEOUT_S,
    ) as pool:
        yield PgVectorStore(pool)


@asynccontextmanager
async def open_embedder(config: Config) -> AsyncIterator[InferenceClient]:
    """The embedding model.  Raises ConfigError when nobody said where the inference role is."""
    if not config.inference.url:
        raise ConfigError(f"no inference role is known ([inference] url): {_WHERE}")
    http = HttpClient()
    try:
        yield InferenceClient(config.inference, http)
    finally:
        await http.aclose()


def chosen_workspace(config: Config, named: str | None) -> str:
    """`named`, else the configured one.  Raises ConfigError when it cannot be a workspace."""
    workspace = named if named is not None else config.knowledge.workspace
    if not is_workspace(workspace):
        raise ConfigError(
            f"{workspace!r} cannot be a workspace: letters, digits, '.', '_' and '-', "
            "64 at most, beginning with a letter or digit"
        )
    return workspace
