"""One `dagster` role a database: a lock that PostgreSQL itself frees when its holder is gone.

Dagster supports a single daemon; two would tick every sensor twice and take each other's runs for
dead.  A second role waits for the first: it is its replacement on another host.
"""

from typing import LiteralString

import psycopg

_CLASS, _KEY = 0x6461, 0x67737465  # "dagste": two numbers, so never storage's lock of one
# The server lets go of a holder whose host lost its power within half a minute.
_SETTINGS: tuple[LiteralString, ...] = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)


class Leader:
    """The lock of this process on the database of `conninfo`; used by one thread."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._holding: psycopg.Connection | None = None  # the connection that has the lock

    def take(self) -> bool:
        """Have the lock, or take it again after PostgreSQL was away; False when another process
        has it.

        Raises psycopg.OperationalError while PostgreSQL is away: then nobody has it.
        """
        if self._holding is not None:
            try:
                self._holding.execute("SELECT 1")
                return True
            except psycopg.OperationalError:
                self.close()
        fresh = psycopg.connect(self._conninfo, autocommit=True)
        try:
            if _locked(fresh):
                self._holding = fresh
        finally:
            if self._holding is not fresh:
                fresh.close()
        return self._holding is not None

    def close(self) -> None:
        """Let go of it."""
        if self._holding is not None:
            self._holding.close()
            self._holding = None


def _locked(connection: psycopg.Connection) -> bool:
    for setting in _SETTINGS:
        connection.execute(setting)
    taken = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [_CLASS, _KEY]).fetchone()
    return taken == (True,)
