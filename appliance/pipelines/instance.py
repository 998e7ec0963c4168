"""What every process of Dagster must agree on: DAGSTER_HOME with its `dagster.yaml`, the URL of the
database, the environment.  Read by the roles `dagster` and `dagster-code` before they start; it
imports nothing of Dagster.

No secret is written: the database's password is in the environment of our own processes alone.
"""

import os
import socket
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import make_conninfo

from appliance.config import dagster_home
from appliance.config.load import default_state, shipped
from appliance.config.schema import Config
from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.entrypoints.options import RunOptions

DEFINITIONS = "appliance.pipelines.definitions"
LOCATION = "appliance"
HOME_VARIABLE = "DAGSTER_HOME"
URL_VARIABLE = "DAGSTER_POSTGRES_URL"
MODULE_VARIABLE = "APPLIANCE_DAGSTER_MODULE"
LOG_VARIABLE = "APPLIANCE_LOG_LEVEL"
_FILE = "dagster.yaml"


def home(options: RunOptions) -> Path:
    """DAGSTER_HOME, made with mode 0700 and holding the current `dagster.yaml`.

    Raises ConfigError when others may enter it or it cannot be written.
    """
    folder = dagster_home.private_folder(
        dagster_home.home(options.config, options.state or default_state())
    )
    text = shipped(f"dagster/{_FILE}").read_text(encoding="utf-8")
    values = {
        "max_runs": options.config.dagster.max_runs,
        "keep_ticks_days": options.config.dagster.keep_ticks_days,
    }
    for name, value in values.items():
        text = text.replace(f": {{{name}}}\n", f": {value}\n")
    _lay(folder / _FILE, text)
    return folder


def environment(options: RunOptions, module: str = DEFINITIONS) -> dict[str, str]:
    """What the processes of Dagster are told, those they start included; the home is laid out."""
    state = (options.state or default_state()).absolute()
    told = {
        HOME_VARIABLE: str(home(options)),
        URL_VARIABLE: postgres_url(options.config),
        MODULE_VARIABLE: module,
        LOG_VARIABLE: options.config.log.level,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        # Each thread of a role would keep an arena of its own: tens of MiB (glibc only).
        "MALLOC_ARENA_MAX": "2",
    }
    if options.state is not None:
        told["APPLIANCE_STATE"] = str(state)
    if options.config_file is not None:
        told["APPLIANCE_CONFIG"] = str(options.config_file.absolute())
    return told


def postgres_url(config: Config) -> str:
    """The database as SQLAlchemy names it, `postgresql+psycopg2://…`; it holds the password.

    Every parameter of the psycopg DSN is carried.  The driver is named because SQLAlchemy 2.1 takes
    a bare `postgresql://` for psycopg 3, and dagster-postgres speaks psycopg2.
    """
    found = {"connect_timeout": _whole_s(config.postgres.connect_timeout_s), **_parameters(config)}
    user, password = found.pop("user", ""), found.pop("password", "")
    database = found.pop("dbname")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    place = _place(found)
    query = urlencode(found, quote_via=quote)
    return (
        f"postgresql+psycopg2://{login}{'@' if login else ''}{place}"
        f"/{quote(database, safe='')}?{query}"
    )


def conninfo(config: Config) -> str:
    """The same database as a psycopg DSN; connecting is bounded."""
    ours = {
        "application_name": "appliance-dagster",
        "connect_timeout": _whole_s(config.postgres.connect_timeout_s),
    }
    return make_conninfo(**ours | _parameters(config))


def require_database(config: Config) -> None:
    """Return when the database is there and lets us in.

    Raises ConfigError with the SQL that makes it when the server says it is missing, and
    PartUnavailable when the server is away or refuses us.
    """
    try:
        psycopg.connect(conninfo(config)).close()
    except psycopg.OperationalError as exc:
        if _missing(config):
            raise ConfigError(_how_to_make(config)) from None
        raise PartUnavailable(f"PostgreSQL, for Dagster: {exc}", part="postgres") from exc


def _parameters(config: Config) -> dict[str, str]:
    """libpq's words and their values; `dbname` is always among them."""
    told = dagster_home.require_dsn(dagster_home.postgres_dsn(config))
    return {"dbname": dagster_home.DATABASE, **told}


def _place(found: dict[str, str]) -> str:
    """`host:port` of one TCP server, taken out of `found`.  A socket's folder and a list of servers
    stay in it: they travel as parameters."""
    host = found.get("host", "")
    if not host or host.startswith(("/", "@")) or "," in host + found.get("port", ""):
        return ""
    del found["host"]
    port = found.pop("port", "")
    named = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{named}:{port}" if port else named


def _missing(config: Config) -> bool:
    """Does the server say that there is no such database?  Asked in the appliance's own one, since
    the words of a refused connection depend on the server's language."""
    if config.dagster.dsn or not config.postgres.dsn:
        return False
    try:
        timeout_s = int(_whole_s(config.postgres.connect_timeout_s))
        with psycopg.connect(config.postgres.dsn, connect_timeout=timeout_s) as own:
            name = _parameters(config)["dbname"]
            found = own.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    except psycopg.Error:
        return False
    return found is None


def _how_to_make(config: Config) -> str:
    parameters = _parameters(config)
    name, user = parameters["dbname"], parameters.get("user", "")
    owner = f' OWNER "{user}"' if user else ""
    return (
        f"the PostgreSQL of [postgres] dsn has no database {name!r} for Dagster: make it as its "
        f'administrator with  CREATE DATABASE "{name}"{owner};  or name another with [dagster] dsn'
    )


def _whole_s(seconds: float) -> str:
    """libpq counts whole seconds, and at least two."""
    return str(max(2, round(seconds)))


def _lay(path: Path, text: str) -> None:
    """Replace `path` by rename when it says something else: other processes may be reading it."""
    # Of this process among those of all hosts that share the folder.
    fresh = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}") from exc
    finally:
        fresh.unlink(missing_ok=True)
