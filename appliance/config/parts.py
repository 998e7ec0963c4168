"""STATE/parts.json: where the parts of a running appliance are.  `up` writes it, roles and
commands read it.

Mode 0600: it holds the generated passwords.  Replaced by rename, so a reader never sees half of it.
"""

import os
from pathlib import Path

import msgspec

from appliance.config.schema import (
    BackendConfig,
    Config,
    InferenceConfig,
    ModelConfig,
    NatsConfig,
    PostgresConfig,
)
from appliance.domain.errors import ConfigError


class Llm(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded llama.cpp server, or null when the user's own server answers."""

    base_url: str  # with /v1
    api_key: str
    model: str
    context_window: int


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and pids.  Bases carry no `/v1` and no trailing slash; `postgres` is a psycopg DSN
    of role `agent_gateway`; `nats` is a URL without credentials, `nats_token` goes beside it."""

    gateway: str
    inference: str | None = None
    consumer: str | None = None  # its health and metrics
    nats: str | None = None
    nats_token: str = ""
    postgres: str | None = None
    metrics: str | None = None
    dagster: str | None = None  # its web server, once it has answered
    dagster_code: str | None = None  # the socket of its code server; null: Dagster is left out
    llm: Llm | None = None
    backends: list[BackendConfig] = msgspec.field(
        default_factory=list
    )  # found servers and --backend
    pids: dict[str, int] = msgspec.field(default_factory=dict)
    awaited: list[str] = msgspec.field(default_factory=list)  # starting, never up yet


def parts_file(state: Path) -> Path:
    """Where `up` writes the parts of the appliance in `state`."""
    return state / "parts.json"


def write_parts(path: Path, parts: Parts) -> None:
    """Replace `path` with `parts`, mode 0600, in one rename."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(parts)) + b"\n")
    fresh.replace(path)


def read_parts(state: Path) -> Parts:
    """The parts of the appliance running in `state`; ConfigError when there is none."""
    try:
        return msgspec.json.decode(parts_file(state).read_bytes(), type=Parts)
    except FileNotFoundError:
        raise ConfigError(
            f"no appliance is running on the state folder {state}: "
            f"start one with `appliance up --state {state}`"
        ) from None
    except (OSError, msgspec.DecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise ConfigError(f"{parts_file(state)} cannot be read: {why}") from exc


def with_parts(config: Config, parts: Parts) -> Config:
    """`config` with the running parts filled in; what the user's file names keeps its
    precedence."""
    backends, models = list(config.backends), list(config.models)
    names = {b.name for b in backends}
    backends += [b for b in parts.backends if b.name not in names]
    if parts.llm and "embedded" not in names:
        backends.append(
            BackendConfig(
                name="embedded",
                kind="llamacpp",
                base_url=parts.llm.base_url,
                api_key=parts.llm.api_key,
                max_in_flight=2,
                read_timeout_s=300.0,
            )
        )
        models.insert(
            len(models) if any(m.match == parts.llm.model for m in models) else 0,
            ModelConfig(
                match=parts.llm.model, backend="embedded", context_window=parts.llm.context_window
            ),
        )
    return msgspec.structs.replace(
        config,
        backends=tuple(backends),
        models=tuple(models),
        gateway=msgspec.structs.replace(config.gateway, url=parts.gateway),
        nats=config.nats if config.nats.url else _nats(config.nats, parts),
        postgres=config.postgres if config.postgres.dsn else _postgres(config.postgres, parts),
        inference=config.inference if config.inference.url else _inference(config.inference, parts),
    )


def _nats(config: NatsConfig, parts: Parts) -> NatsConfig:
    return msgspec.structs.replace(config, url=parts.nats or "", token=parts.nats_token)


def _postgres(config: PostgresConfig, parts: Parts) -> PostgresConfig:
    return msgspec.structs.replace(config, dsn=parts.postgres or "")


def _inference(config: InferenceConfig, parts: Parts) -> InferenceConfig:
    return msgspec.structs.replace(config, url=parts.inference or "")
