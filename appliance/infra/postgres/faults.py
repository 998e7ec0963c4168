"""Whose fault it is that PostgreSQL refused a batch: the values' or its own.  Pure.

Values at fault are looked for and set aside; a server at fault is waited for, with everything kept.
"""

from collections.abc import Mapping
from typing import Literal

import psycopg

from appliance.domain.errors import PartUnavailable

Fault = Literal["values", "server"]

# By SQLSTATE, all five characters before the class of the first two.
FAULTS: Mapping[str, Fault] = {
    "08": "server",  # connection
    "0A": "server",  # feature not supported: a plan from before a migration
    "21": "values",  # cardinality
    "22": "values",  # data: NUL, a number out of range, no date, no JSON
    "23": "values",  # integrity
    "23502": "server",  # not null: a column of a release that is not ours
    "25": "server",  # transaction state: a standby, a session that idled too long
    "26": "server",  # no such prepared statement: a pooler between us
    "28": "server",  # authorization
    "3D": "server",  # no such database
    "3F": "server",  # no such schema
    "40": "server",  # rollback: serialization failure, deadlock
    "42": "server",  # tables that are not as we know them, or no right to them
    "53": "server",  # resources: disk full, out of memory, too many connections
    "54": "values",  # program limits: an index entry or a value too long
    "55": "server",  # prerequisite state: a lock not to be had
    "57": "server",  # intervention: statement timeout, shutdown, starting up
    "58": "server",  # system: input and output
    "F0": "server",  # configuration file
    "P0": "values",  # a trigger of the operator's own
    "XX": "values",  # internal: also what is longer than memory can be asked for
    "XX001": "server",  # a table is corrupted
    "XX002": "server",  # an index is corrupted
}

_UNREACHED = (PartUnavailable, psycopg.OperationalError, psycopg.InterfaceError, OSError)


def fault_of(exc: Exception) -> Fault:
    """What nobody listed is blamed on the values: that ends in a dead letter, which is kept and can
    be replayed; blaming the server for what one message causes would hold up all others."""
    state = _sqlstate(exc)
    if state is None:
        return "server" if isinstance(exc, _UNREACHED) else "values"
    return FAULTS.get(state) or FAULTS.get(state[:2]) or "values"


def _sqlstate(exc: Exception) -> str | None:
    """The pool says PartUnavailable for everything psycopg calls operational."""
    cause = exc.__cause__ if isinstance(exc, PartUnavailable) else exc
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None
