"""One JSON object a line on standard error: `ts level role host event`, the two ids, and fields."""

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

# What logging itself puts on a record; everything else came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def _bytes_of(line: dict[str, Any]) -> bytes:
    try:
        return _encode(line)
    except UnicodeEncodeError:  # half a surrogate pair, as in a file name that is not UTF-8
        return json.dumps(line, default=str).encode("ascii")


class JsonFormatter(logging.Formatter):
    """The record's message is the event; its `extra` are the fields."""

    def __init__(self, role: str, host: str) -> None:
        super().__init__()
        self._role = role
        self._host = host

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        fields: dict[str, Any] = vars(record)
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "host": self._host,
            "event": record.getMessage(),
            "correlation_id": fields.get("correlation_id", ""),
            "trace_id": fields.get("trace_id", ""),
        }
        line.update((k, v) for k, v in fields.items() if k not in _STANDARD and k not in line)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _bytes_of(line).decode("utf-8", "replace")


LINGER_S = 0.01


def soon(flush: Callable[[], None]) -> None:
    """Run `flush` on the event loop in a moment: lines of that long are one write."""
    asyncio.get_running_loop().call_later(LINGER_S, flush)


class AccessLines:
    """The access log's own way out: a LogRecord costs more than the request's decoding does, and a
    write of its own for each line as much again.

    `later` schedules a flush; without it every line is written at once.
    """

    def __init__(
        self,
        role: str,
        level: str,
        descriptor: int = 2,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        fixed = {"role": role, "host": socket.gethostname(), "event": "request"}
        # What stands between the moment and the fields, once for each level that is written.
        self._fixed = {
            name: b'","level":"%b",%b,' % (name.encode("ascii"), _bytes_of(fixed)[1:-1])
            for name in ("debug", "info")
        }
        self._least = logging.getLevelName(level.upper())
        self._descriptor = descriptor
        self._later = later
        self._lines: list[bytes] = []

    def write(self, level: int, fields: dict[str, Any]) -> None:
        """One line with `fields`, the two ids among them, when `level` is to be seen."""
        if level < self._least:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        name = "debug" if level <= logging.DEBUG else "info"
        start = b'{"ts":"' + now.encode("ascii") + self._fixed[name]
        self._lines.append(start + _bytes_of(fields)[1:])
        if self._later is None:
            self.flush()
        elif len(self._lines) == 1:
            self._later(self.flush)

    def flush(self) -> None:
        """Write what has gathered; called once more at the end of the process."""
        lines, self._lines = self._lines, []
        if lines:
            with suppress(OSError):
                os.write(self._descriptor, b"\n".join(lines) + b"\n")


class LineHandler(logging.Handler):
    """One write a line to a descriptor; a full disk or a closed pipe must not stop a request."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        with suppress(OSError):
            os.write(self._descriptor, self.format(record).encode("utf-8", "replace") + b"\n")


def configure(role: str, level: str) -> None:
    """Send this process's log lines to standard error as JSON.  Called once, by a role's
    entrypoint."""
    handler = LineHandler(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter(role, socket.gethostname()))
    # Nobody prints these, and finding them costs a third of a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # the documented switch for call sites
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("appliance").setLevel(level.upper())
