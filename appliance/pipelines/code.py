"""The role `dagster-code`: the code server, which evaluates sensors and schedules for the daemon
and describes the definitions to it.

It waits for Dagster's database, without which there is no code server, and becomes `dagster api
grpc` on a UNIX socket in a private folder, never TCP: whoever reaches it can run code.  The process
keeps its pid, and with it what ends it when `up` dies.
"""

import os
import socket
import sys
import time
from pathlib import Path

from appliance.config import dagster_home
from appliance.domain.errors import ConfigError
from appliance.entrypoints.options import RunOptions
from appliance.infra.telemetry.logs import configure
from appliance.pipelines import instance
from appliance.pipelines.waiting import database_answers, until

_ROOT = Path(__file__).resolve().parents[2]


def run(options: RunOptions, module: str = instance.DEFINITIONS) -> None:
    """Replace this process by the code server of `module`.

    Raises ConfigError when another one serves this home already, or there is no database.
    """
    configure("dagster-code", options.config.log.level)
    environment = instance.environment(options, module)
    place = dagster_home.code_socket(Path(environment[instance.HOME_VARIABLE]))
    dagster_home.private_folder(place.parent)
    _clear(place)
    until("the database", lambda: database_answers(options.config), time.sleep)
    os.umask(0o077)
    os.execve(sys.executable, command(place, module), {**os.environ, **environment})


def command(place: Path, module: str) -> list[str]:
    """The code server's command line; it holds no secret.  `-P` keeps the current folder out of
    the search for modules; so would Dagster, and take the first folder of the search instead: it
    is told where this package is."""
    return [
        sys.executable, "-P", "-m", "dagster", "api", "grpc",
        "--socket", str(place),
        "--module-name", module, "--working-directory", str(_ROOT),
        "--location-name", instance.LOCATION,
        "--log-level", "warning", "--log-format", "json",
    ]  # fmt: skip


def _clear(place: Path) -> None:
    """Remove the socket of a server that is gone."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)
            return
        except OSError as exc:
            raise ConfigError(f"{place} cannot be used: {exc.strerror}") from exc
    raise ConfigError(f"another code server answers on {place}: stop it first")
