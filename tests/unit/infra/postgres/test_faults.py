import psycopg
import pytest

from appliance.domain.errors import PartUnavailable
from appliance.infra.postgres.faults import FAULTS, fault_of

SERVER = {
    "08006": "connection failure",
    "0A000": "cached plan must not change result type",
    "23502": "a column without a default that is not ours",
    "25006": "read-only transaction",
    "25P03": "idle in transaction for too long",
    "28P01": "password",
    "3D000": "no such database",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "42501": "no right to the table",
    "42P01": "no such table",
    "42703": "no such column",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57014": "statement timeout",
    "57P01": "shutdown by the administrator",
    "57P03": "starting up",
    "58030": "input and output",
    "XX001": "data corrupted",
}
VALUES = {
    "22003": "number out of range",
    "22007": "no date",
    "22021": "no such character",
    "22P02": "no JSON",
    "22P05": "a NUL in JSON",
    "23505": "there already",
    "54000": "longer than an index entry",
    "XX000": "longer than memory can be asked for",
}


def _error(state: str) -> psycopg.Error:
    return psycopg.errors.lookup(state)("said so")


@pytest.mark.parametrize("state", SERVER, ids=SERVER.get)
def test_the_server_is_at_fault(state: str) -> None:
    assert fault_of(_error(state)) == "server"


@pytest.mark.parametrize("state", VALUES, ids=VALUES.get)
def test_the_values_are_at_fault(state: str) -> None:
    assert fault_of(_error(state)) == "values"


@pytest.mark.parametrize(("state", "fault"), [("54000", "values"), ("53100", "server")])
def test_what_the_pool_translated_is_judged_by_its_cause(state: str, fault: str) -> None:
    translated = PartUnavailable("PostgreSQL: said so", part="postgres")
    translated.__cause__ = _error(state)
    assert fault_of(translated) == fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (PartUnavailable("refused", part="postgres"), "server"),
        (psycopg.OperationalError("the connection is lost"), "server"),
        (psycopg.InterfaceError("the connection is closed"), "server"),
        (ConnectionResetError(), "server"),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL"), "values"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "values"),
        (RecursionError(), "values"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_a_state_it_is_told_by_the_kind(error: Exception, fault: str) -> None:
    assert fault_of(error) == fault


def test_every_row_of_the_table_is_a_class_or_a_state() -> None:
    assert {len(code) for code in FAULTS} == {2, 5}
