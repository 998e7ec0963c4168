"""How far a long command is, on standard error, and what it wrote, as a table."""

import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from appliance.domain.events.delivery import Written

EVERY_S = 1.0


class Progress:
    """One line that is written over on a terminal, a line a second elsewhere; none at all for what
    is done at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + EVERY_S
        self._terminal = sys.stderr.isatty()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._shown and self._terminal:
            print(file=sys.stderr)

    def show(self, what: str, done: int, left: int) -> None:
        """`what` was done with `done` messages, `left` follow at the most."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        line = f"{what}: {done} messages, at most {left} to go"
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)
        self._shown = True


def written_lines(written: Written) -> list[str]:
    """A line a table, and one for what was forgotten."""
    rows = [
        (table, written.inserted.get(table, 0), offered)
        for table, offered in written.offered.items()
    ]
    lines = table_lines(
        ("table", "written", "already there"),
        ((table, str(inserted), str(offered - inserted)) for table, inserted, offered in rows),
    )
    if written.forgotten:
        lines.append(f"{written.forgotten} of somebody who is forgotten: no row")
    return lines if rows or written.forgotten else []


def table_lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right; only the head when there are no
    rows."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
