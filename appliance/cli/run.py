"""`appliance run --role ROLE`: one role in the foreground."""

import argparse
import importlib
from pathlib import Path

from appliance.config.load import load_config
from appliance.entrypoints import ROLES
from appliance.entrypoints.options import RunOptions
from appliance.infra.embedded.wheels import require_pipelines

HELP = "run one role in the foreground"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--role, --config, --state, --listen, --insecure."""
    parser.add_argument("--role", choices=sorted(ROLES), required=True)
    parser.add_argument("--config", type=Path, metavar="FILE", help="laid over the defaults")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="use the parts of the appliance running there"
    )
    parser.add_argument("--listen", default="", metavar="HOST:PORT")
    parser.add_argument(
        "--insecure", action="store_true", help="serve other addresses than loopback without keys"
    )


def run(arguments: argparse.Namespace) -> int:
    """Import the role and run it until it is told to stop."""
    options = RunOptions(
        config=load_config(arguments.config, state=arguments.state),
        state=arguments.state,
        listen=arguments.listen,
        insecure=arguments.insecure,
        config_file=arguments.config,
    )
    module, _, name = ROLES[arguments.role].partition(":")
    if module.startswith("appliance.pipelines"):
        require_pipelines()
    getattr(importlib.import_module(module), name)(options)
    return 0
