"""What the commands share: finding the appliance, and saying what went wrong."""

import argparse
from pathlib import Path

from appliance.config.load import default_state, load_config
from appliance.config.parts import parts_file
from appliance.config.schema import Config


def add_target(parser: argparse.ArgumentParser) -> None:
    """`--state DIR` and `--config FILE`: which appliance a command talks to."""
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="state folder of a running `appliance up`"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file of this host"
    )


def target_config(arguments: argparse.Namespace) -> Config:
    """The configuration that reaches the appliance meant: --state, else the default state when an
    appliance
    runs there, else the host's configuration.  Raises ConfigError with what to do."""
    state: Path | None = arguments.state
    if state is None and parts_file(default_state()).exists():
        state = default_state()
    return load_config(arguments.config, state=state)


def gateway_url(config: Config) -> str:
    """The gateway's base, without `/v1` and trailing slash."""
    return (config.gateway.url or f"http://{config.gateway.listen}").rstrip("/")
