"""The claim of every test in this folder: what was answered is a row, once, in its order.

Nothing here asks the appliance how it fares: the requests are those the clients made, the rows
those in PostgreSQL.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.fakes.load import Asked

WITHIN_S = 150.0  # a consumer that died in a transaction keeps its locks for a minute
# Hanging up is seen by the gateway a moment later; killed in between, it has recorded nothing.
UNSEEN_S = 1.0
STATUS = {"answered": "finished", "failed": "failed", "cancelled": "cancelled"}
TABLES = {
    "chat_history": "SELECT trace_id FROM chat_history WHERE detail IS NOT NULL",
    "chat_pairs": "SELECT trace_id FROM chat_pairs",
    "flow_lineage": "SELECT trace_id FROM flow_lineage WHERE node_id = 'answer'",
    "tool_calls": "SELECT trace_id FROM tool_calls",
}


@dataclass
class Excuses:
    """`kills`: from when to when a gateway died; `lost`: by table, trace ids that may have no row
    there; `refusing`: it was told to refuse what it cannot keep."""

    kills: list[tuple[float, float]] = field(default_factory=list)
    lost: Mapping[str, set[str]] = field(default_factory=dict)

    refusing: bool = False

    def broken(self, asked: Asked) -> bool:
        """It was in flight on a gateway that was killed."""
        return any(asked.began <= gone and begun <= asked.ended for begun, gone in self.kills)

    def unseen(self, asked: Asked) -> bool:
        """The gateway may have been killed before it saw this client hang up."""
        return asked.outcome == "cancelled" and any(
            begun - UNSEEN_S <= asked.ended <= gone for begun, gone in self.kills
        )


def require_kept(
    dsn: str, asked: Sequence[Asked], excuses: Excuses | None = None, within_s: float = WITHIN_S
) -> None:
    """Every answer has its rows, none twice, in order, but for what `excuses` explain.

    Waits until everything has arrived, `within_s` at most.
    """
    excuses = excuses or Excuses()
    wrong = [a for a in asked if a.outcome == "wrong"]
    wrong += [a for a in asked if a.outcome == "lost" and not excuses.broken(a)]
    assert not wrong, (
        f"{len(wrong)} of {len(asked)} clients saw an error: {wrong[:3]}; {excuses.kills}"
    )
    refused = [a for a in asked if a.outcome == "refused"]
    assert excuses.refusing or not refused, f"{len(refused)} were refused: {refused[:3]}"
    told = [a for a in asked if a.outcome in STATUS]
    assert sum(a.outcome == "answered" for a in told) >= 20, "there was too little traffic"
    unseen = {a.trace_id for a in told if excuses.unseen(a)}
    _wait_for_rows(dsn, told, {t: unseen | excuses.lost.get(t, set()) for t in TABLES}, within_s)
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        _require_once(connection, asked, told)
        _require_status(connection, told)
        _require_order(connection, told)


def wait_unkept(dsn: str, asked: Sequence[Asked], count: int) -> list[Asked]:
    """The `count` exchanges that were not kept: as many have no row, whatever the time.

    More without a row are an error after a while, fewer at once.
    """
    told = [a for a in asked if a.outcome in STATUS]
    ids = {a.trace_id for a in told}
    deadline = time.monotonic() + WITHIN_S
    while len(missing := _missing(dsn, {"chat_history": ids})["chat_history"]) > count:
        assert time.monotonic() < deadline, f"{len(missing)} have no row, {count} were not kept"
        time.sleep(0.1)
    assert len(missing) == count, f"{count} were not kept, and only {len(missing)} have no row"
    return [a for a in told if a.trace_id in missing]


def wanted(asked: Sequence[Asked]) -> dict[str, set[str]]:
    """The trace ids each table must have."""
    by_table: dict[str, set[str]] = {table: set() for table in TABLES}
    for one in asked:
        by_table["chat_history"].add(one.trace_id)
        by_table["flow_lineage"].add(one.trace_id)
        if one.outcome == "answered":
            by_table["chat_pairs"].add(one.trace_id)
            if one.kind == "tools":
                by_table["tool_calls"].add(one.trace_id)
    return by_table


def _wait_for_rows(
    dsn: str, told: Sequence[Asked], excused: Mapping[str, set[str]], within_s: float
) -> None:
    by_table = wanted(told)
    deadline = time.monotonic() + within_s
    while True:
        missing = {t: ids - excused[t] for t, ids in _missing(dsn, by_table).items()}
        unexcused = {t: ids for t, ids in missing.items() if ids}
        if not unexcused:
            return
        assert time.monotonic() < deadline, f"after {within_s:g} s rows are missing: " + "; ".join(
            f"{table}: {len(ids)} of {len(by_table[table])}, e.g. {_named(ids, told)}"
            for table, ids in unexcused.items()
        )
        time.sleep(0.1)


def _missing(dsn: str, by_table: dict[str, set[str]]) -> dict[str, set[str]]:
    """Everything, while PostgreSQL cannot be asked."""
    missing = {table: set(ids) for table, ids in by_table.items()}
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            for table, ids in missing.items():
                query = f"SELECT trace_id FROM ({TABLES[table]}) AS t WHERE trace_id = ANY(%s)"
                ids -= {row[0] for row in connection.execute(query.encode(), (list(ids),))}
    except psycopg.OperationalError:
        return {table: set(ids) for table, ids in by_table.items()}
    return missing


def _require_once(
    connection: psycopg.Connection, asked: Sequence[Asked], told: Sequence[Asked]
) -> None:
    """By trace id, and by question: a second trace id would be a second row as well."""
    ids, questions = [a.trace_id for a in told], [a.question for a in asked]
    twice = Counter(ids) - Counter(set(ids))
    assert not twice, f"a trace id was given twice: {twice}"
    rows = _all(
        connection,
        "SELECT trace_id, count(*) FROM chat_history WHERE trace_id = ANY(%s)"
        " GROUP BY 1 HAVING count(*) <> 2",  # the question and its answer
        ids,
    )
    assert not rows, f"not a question and an answer each: {rows[:3]}"
    rows = _all(
        connection,
        "SELECT prompt, array_agg(trace_id) FROM chat_pairs WHERE prompt = ANY(%s)"
        " GROUP BY 1 HAVING count(*) > 1",
        questions,
    )
    assert not rows, f"exchanges that are two pairs: {rows[:3]}"
    rows = _all(
        connection,
        "SELECT trace_id, call_index, count(*) FROM tool_calls WHERE trace_id = ANY(%s)"
        " GROUP BY 1, 2 HAVING count(*) > 1",
        ids,
    )
    assert not rows, f"tool calls that are two rows: {rows[:3]}"
    rows = _all(
        connection, "SELECT trace_id, reason FROM dead_letters WHERE trace_id = ANY(%s)", ids
    )
    assert not rows, f"dead letters: {rows[:3]}"


def _require_status(connection: psycopg.Connection, told: Sequence[Asked]) -> None:
    rows = _all(
        connection,
        "SELECT trace_id, status FROM chat_history WHERE detail IS NOT NULL AND trace_id = ANY(%s)",
        [a.trace_id for a in told],
    )
    found = dict(rows)
    wrong = [(a, found.get(a.trace_id)) for a in told if a.trace_id in found]
    wrong = [(a, status) for a, status in wrong if status != STATUS[a.outcome]]
    assert not wrong, f"{len(wrong)} exchanges have another status: {wrong[:3]}"


def _require_order(connection: psycopg.Connection, told: Sequence[Asked]) -> None:
    """In every conversation the rows' order is that in which the client got its answers."""
    rows = _all(
        connection,
        "SELECT conversation_id, trace_id FROM chat_history"
        " WHERE detail IS NOT NULL AND trace_id = ANY(%s) ORDER BY stream_sequence",
        [a.trace_id for a in told],
    )
    written = {trace_id for _, trace_id in rows}
    asked = _by_conversation(told, written)
    found: dict[str, list[str]] = {}
    for conversation, trace_id in rows:
        found.setdefault(conversation, []).append(trace_id)
    mixed = [c for c, ids in asked.items() if found[c] != ids]
    assert not mixed, (
        f"{len(mixed)} of {len(asked)} conversations are out of order; {mixed[0]}: "
        f"asked {asked[mixed[0]]}, rows {found[mixed[0]]}"
    )


def _by_conversation(told: Sequence[Asked], written: set[str]) -> dict[str, list[str]]:
    """The trace ids that have rows, in the order of their turns."""
    turns: dict[str, list[str]] = {}
    for one in sorted(told, key=lambda a: a.turn):
        if one.trace_id in written:
            turns.setdefault(one.conversation, []).append(one.trace_id)
    return turns


def _all(connection: psycopg.Connection, query: str, ids: list[str]) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), (ids,)).fetchall()


def _named(ids: set[str], told: Sequence[Asked]) -> list[Asked]:
    return [a for a in told if a.trace_id in ids][:2]
