"""Where Dagster lives: its home folder, the socket of its code server, its database.

One place, because `up`, which may not import Dagster, and the roles that do must mean the same.
"""

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from appliance.config.schema import Config
from appliance.domain.errors import ConfigError

DATABASE = "dagster"
_LONGEST_SOCKET = 100  # bytes; the kernel takes 107 on Linux and 103 on macOS


def home(config: Config, state: Path) -> Path:
    """DAGSTER_HOME: the configured one, else `dagster` in the state folder.  Links are followed."""
    return Path(config.dagster.home or state / "dagster").expanduser().resolve()


def code_socket(home: Path) -> Path:
    """The UNIX socket of this host's code server of `home`, in a folder that `private_folder`
    makes.  Hosts that share the home have one each: it has the host's name.

    A home too deep for a socket's name has it in a folder of this user's below the temporary one.
    """
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    folder = f"appliance-{os.getuid()}-{name}"
    places = (home, Path(tempfile.gettempdir()) / folder, Path("/tmp") / folder)
    sockets = (place / f"code-{socket.gethostname()[:32]}.sock" for place in places)
    return next(s for s in sockets if len(os.fsencode(s)) <= _LONGEST_SOCKET)


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be with mode 0700.  ConfigError when it is a link, another user's, or
    open to others.

    Whoever reaches a code server's socket can run code as this user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise ConfigError(f"the folder {folder} cannot be made: {exc.strerror}") from exc
    _require_private(folder, found)
    return folder


def _require_private(folder: Path, found: os.stat_result) -> None:
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & 0o077:
        raise ConfigError(
            f"the folder {folder} is not this user's alone: change its owner or mode, or remove it"
        )


def refuse_unusable(config: Config) -> None:
    """Raise ConfigError for a `[dagster] home` or `dsn` that cannot work.  Makes nothing."""
    if config.dagster.dsn:
        require_dsn(config.dagster.dsn)
    if not config.dagster.home:
        return
    folder = home(config, Path())
    try:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as exc:
        raise ConfigError(f"[dagster] home: {exc.filename}: {exc.strerror}") from exc
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"[dagster] home: nothing can be written in {existing}")
    if existing == folder:
        _require_private(folder, folder.lstat())


def require_dsn(dsn: str) -> dict[str, str]:
    """The words of a psycopg DSN and their values; ConfigError, without them, when it is none."""
    try:
        found = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The DSN's own words may be in the error: they may hold the password.
        raise ConfigError("[dagster] dsn: is not a connection string of PostgreSQL") from None
    return {name: str(value) for name, value in found.items() if value is not None}


def postgres_dsn(config: Config) -> str:
    """A psycopg DSN of Dagster's database: the configured one, else `dagster` beside the
    appliance's own; ConfigError when no PostgreSQL is known."""
    if config.dagster.dsn:
        return config.dagster.dsn
    if not config.postgres.dsn:
        raise ConfigError("no PostgreSQL is known: set [postgres] dsn, or name a --state folder")
    return make_conninfo(config.postgres.dsn, dbname=DATABASE)
