"""What the tables of events look like: their columns, how many rows, the newest of them.  For the
metadata of the pipelines; reads only.  Whether the rows are right is asked in `event_checks.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES
from appliance.infra.postgres.pool import Connection, PostgresPool

MOST_COUNTED = 50_000  # rows; beyond it PostgreSQL's own estimate has to do
# Kind of event, beside the chat itself -> the table that has a row where an exchange had one.
KINDS: Mapping[str, str] = {
    durable.name: durable.tables[0] for durable in DURABLES.values() if durable.subject != PERSIST
}
_ESTIMATE = """
SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'r'
"""
_COUNT = "SELECT count(*) FROM {table}"
_ANY_SINCE = "SELECT EXISTS (SELECT FROM {table} WHERE {at} > to_timestamp(%s))"
# The view itself gathers every event of every row; counting needs none of them.
_EXCHANGES = """
SELECT count(*), count(p.embedding),
    extract(epoch FROM min(h.created_at))::float8, extract(epoch FROM max(h.created_at))::float8
FROM chat_history h LEFT JOIN chat_pairs p USING (trace_id)
WHERE h.detail IS NOT NULL AND h.created_at >= to_timestamp(%s)
"""
_HAVING = "SELECT count(DISTINCT trace_id) FROM {table} WHERE created_at >= to_timestamp(%s)"
_SCHEMA = """
SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
# What is shown is cut last: not of all the rows that are passed by.
_PREVIEW = """
SELECT {columns} FROM (
    SELECT * FROM {table} WHERE created_at >= to_timestamp(%s) ORDER BY created_at DESC LIMIT %s
) AS newest ORDER BY created_at DESC
"""
_CUT = 80
# By the beginning of a column's type: as what it is shown.  Any other is a text, and cut.
_AS_IT_IS = ("integer", "bigint", "double precision", "boolean", "timestamp")
_SIZED: Mapping[str, str] = {"vector": "vector_dims({})", "bytea": "octet_length({})"}


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as PostgreSQL writes it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Chats since a time: how many, `embedded` of them with the vector of their pair, and by kind
    of event how many exchanges had one; `oldest` and `newest` in Unix seconds, None without any."""

    count: int
    embedded: int
    kinds: Mapping[str, int]
    oldest: float | None
    newest: float | None


async def row_count(pool: PostgresPool, table: str, *, exactly: bool = False) -> int | None:
    """Rows of `table`, an estimate when there are more than MOST_COUNTED and nobody wants it
    `exactly`; None for a view.  Raises PartUnavailable, as every function here."""
    async with pool.transaction() as connection:
        found = await _rows(connection, sql.SQL(_ESTIMATE), (table,))
        if not found:
            return None
        ((estimate,),) = found
        if estimate > MOST_COUNTED and not exactly:
            return int(estimate)
        statement = sql.SQL(_COUNT).format(table=sql.Identifier(table))
        ((count,),) = await _rows(connection, statement, ())
    return int(count)


async def any_since(
    pool: PostgresPool, table: str, since: float, *, at: str = "created_at"
) -> bool:
    """Is there a row whose `at` is after `since`, Unix seconds?  `created_at` is when an event
    occurred, which may be long before its row was written."""
    statement = sql.SQL(_ANY_SINCE).format(table=sql.Identifier(table), at=sql.Identifier(at))
    async with pool.transaction() as connection:
        ((found,),) = await _rows(connection, statement, (since,))
    return bool(found)


async def exchanges(pool: PostgresPool, since: float) -> Exchanges:
    """Those since `since`, Unix seconds."""
    kinds = {}
    async with pool.transaction() as connection:
        told = await _rows(connection, sql.SQL(_EXCHANGES), (since,))
        for kind, table in KINDS.items():
            statement = sql.SQL(_HAVING).format(table=sql.Identifier(table))
            ((kinds[kind],),) = await _rows(connection, statement, (since,))
    ((count, embedded, oldest, newest),) = told
    return Exchanges(count, embedded, kinds, oldest, newest)


async def schema_of(pool: PostgresPool, table: str) -> list[Column]:
    """The columns of a table or view, in their order; none when it does not exist."""
    async with pool.transaction() as connection:
        return await _columns(connection, table)


async def preview(pool: PostgresPool, table: str, n: int, *, since: float) -> list[dict[str, Any]]:
    """The `n` newest rows since `since`, Unix seconds, newest first, by column: texts and JSON cut
    to 80 characters, of vectors and bytes their length, times in RFC 3339.

    `since` bounds what is read: most tables are not indexed by the time of each row.
    """
    async with pool.transaction() as connection:
        columns = await _columns(connection, table)
        shown = sql.SQL(", ").join(_shown(column) for column in columns)
        statement = sql.SQL(_PREVIEW).format(columns=shown, table=sql.Identifier(table))
        found = await _rows(connection, statement, (since, n))
    names = [column.name for column in columns]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in found]


async def _columns(connection: Connection, table: str) -> list[Column]:
    return [Column(*row) for row in await _rows(connection, sql.SQL(_SCHEMA), (table,))]


def _shown(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type.startswith(_AS_IT_IS):
        return name
    for kind, expression in _SIZED.items():
        if column.type.startswith(kind):
            return sql.SQL(expression).format(name)
    cut = "CASE WHEN length({0}::text) > {1} THEN left({0}::text, {2}) || '…' ELSE {0}::text END"
    return sql.SQL(cut).format(name, sql.Literal(_CUT), sql.Literal(_CUT - 1))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def _rows(
    connection: Connection, statement: sql.SQL | sql.Composed, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()
