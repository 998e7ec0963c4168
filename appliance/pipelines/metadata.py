"""What an asset says of a materialisation: counts, times, the table's columns, a few rows.

Whoever opens Dagster's UI reads it: ids, names, numbers, and texts cut to 80 characters; where
`[privacy]` keeps no texts the rows have none to show.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
from psycopg.conninfo import conninfo_to_dict

from appliance.config.schema import Config
from appliance.infra.nats.consumer.drained import Drained
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.table_facts import Column, preview, row_count, schema_of

PREVIEW_ROWS = 5
# How far back a run looks.  Every run does: of a busy day it would read gigabytes.
RECENT_S = 3600.0
Metadata = dict[str, Any]


def of_drained(drained: Drained, tables: Sequence[str]) -> Metadata:
    """What became of the events of a run."""
    written = drained.written
    found: Metadata = {
        "events": drained.events,
        "forgotten": written.forgotten,
        "retried": drained.retried,
        "buried": drained.buried,
        **of_rows(
            sum(written.inserted.values()),
            sum(written.offered.values()) - sum(written.inserted.values()),
        ),
    }
    for table in tables:
        inserted = written.inserted.get(table, 0)
        found[f"{table}/rows_written"] = inserted
        found[f"{table}/rows_already_there"] = written.offered.get(table, 0) - inserted
    if drained.sequences:
        found["last_sequence"] = drained.sequences[-1][1]
    return found | of_times(drained.oldest, drained.newest)


def of_rows(written: int, already_there: int) -> Metadata:
    """What every asset says first, whatever its rows are."""
    return {"rows_written": written, "rows_already_there": already_there}


def of_times(oldest: str | float | None, newest: str | float | None) -> Metadata:
    """When the first and the last event occurred: RFC 3339 or Unix seconds; nothing when nobody
    knows, or nobody can read it."""
    times = {"oldest": oldest, "newest": newest}
    unix = {name: _unix(at) for name, at in times.items()}
    return {name: dg.MetadataValue.timestamp(at) for name, at in unix.items() if at is not None}


async def of_table(pool: PostgresPool, config: Config, table: str) -> Metadata:
    """Name, columns, size and newest rows of `table`.  Raises PartUnavailable."""
    database = conninfo_to_dict(config.postgres.dsn).get("dbname") or "postgres"
    rows = await row_count(pool, table)
    newest = await preview(pool, table, PREVIEW_ROWS, since=time.time() - RECENT_S)
    return {
        "dagster/table_name": f"{database}.public.{table}",
        "dagster/column_schema": schema(await schema_of(pool, table)),
        "preview": dg.MetadataValue.md(markdown(newest)),
        **({} if rows is None else {"dagster/row_count": rows}),
    }


def markdown(rows: Sequence[Mapping[str, object]], none: str = "no rows of the last hour") -> str:
    """`rows` as a table, `none` without any; whatever is in a text stays in its cell."""
    if not rows:
        return none
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(mark, entity)
    # An image or a link would have the browser of whoever looks at it ask somebody's server.
    text = text.replace("[", "&#91;").replace("]", "&#93;").replace("://", "&#58;//")
    return " ".join(text.split())


def schema(columns: Sequence[Column]) -> dg.TableSchema:
    """As Dagster's pages show it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def _unix(at: str | float | None) -> float | None:
    if not isinstance(at, str):
        return at
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:  # an event says so itself, and need not be right
        return None
