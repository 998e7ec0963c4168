"""What the commands share: finding the appliance, and saying what went wrong."""

import argparse
from pathlib import Path

from appliance.config.load import default_state, load_config
from appliance.config.parts import parts_file
from appliance.config.schema import Config
from appliance.domain.errors import ConfigError
from appliance.domain.identity import began_s
from appliance.domain.responses.record import ID_PREFIX
from appliance.infra.postgres.pool import PostgresPool


def add_target(parser: argparse.ArgumentParser, *, below: bool = False) -> None:
    """`--state DIR` and `--config FILE`: which appliance a command talks to.

    `below`: on an action of a command that has them too; what is not given there is left alone.
    """
    default = argparse.SUPPRESS if below else None
    add = parser.add_argument
    add("--state", type=Path, metavar="DIR", default=default, help="state folder of `appliance up`")
    add("--config", type=Path, metavar="FILE", default=default, help="configuration of this host")


def target_config(arguments: argparse.Namespace) -> Config:
    """The configuration that reaches the appliance meant: --state, else the default state when an
    appliance runs there, else the host's configuration.  Raises ConfigError with what to do."""
    state: Path | None = arguments.state
    if state is None and parts_file(default_state()).exists():
        state = default_state()
    return load_config(arguments.config, state=state)


def kept_config(arguments: argparse.Namespace) -> Config:
    """As `target_config`, for what was kept.  Raises ConfigError when nothing says where."""
    config = target_config(arguments)
    if not config.nats.url and not config.postgres.dsn:
        raise ConfigError(
            f"no appliance is running on {arguments.state or default_state()}: start one with "
            "`appliance up`, name its folder with --state DIR, or a file with [nats] url and "
            "[postgres] dsn with --config FILE"
        )
    return config


def database(config: Config, *, timeout_s: float = 30.0) -> PostgresPool:
    """Its connections; what is done over one may take `timeout_s`."""
    limits = config.postgres
    return PostgresPool(limits.dsn, connect_timeout_s=limits.connect_timeout_s, timeout_s=timeout_s)


def counted(number: int, noun: str) -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def trace_id_of(identifier: str) -> str:
    """The trace id within the id of a response (`resp_<trace id>`); any other id as it is."""
    within = identifier.removeprefix(ID_PREFIX)
    return identifier if began_s(within) is None else within


def gateway_url(config: Config) -> str:
    """The gateway's base, without `/v1` and trailing slash."""
    return (config.gateway.url or f"http://{config.gateway.listen}").rstrip("/")
