"""`appliance migrate`: bring the database's tables to this version.  `up` does it by itself, and
the role `dagster` does it for Dagster's own.
"""

import argparse
import asyncio

from appliance.cli.common import add_target, target_config
from appliance.domain.errors import ConfigError
from appliance.infra.postgres.migrate import migrate

HELP = "bring the database to this version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--state, --config."""
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """Apply what is missing and name it."""
    config = target_config(arguments)
    if not config.postgres.dsn:
        raise ConfigError("no PostgreSQL is known: set [postgres] dsn, or name a --state folder")
    applied = asyncio.run(
        migrate(config.postgres.dsn, connect_timeout_s=config.postgres.connect_timeout_s)
    )
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the database is up to date")
    print("Dagster's own tables are made and updated by its role when it starts")
    return 0
