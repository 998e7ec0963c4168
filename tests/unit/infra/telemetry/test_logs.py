import json
import logging
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.infra.telemetry.logs import AccessLines, JsonFormatter, LineHandler

IDS = {"correlation_id": "thread", "trace_id": "t1"}


def record(
    message: str = "request", *, level: int = logging.INFO, **fields: Any
) -> logging.LogRecord:
    made = logging.LogRecord("appliance.x", level, "", 0, message, (), fields.pop("exc_info", None))
    vars(made).update(fields)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter("gateway", "desk").format(made)
    assert "\n" not in text
    read: dict[str, Any] = json.loads(text)
    return read


def test_a_line_has_the_settled_names_in_order_and_its_fields() -> None:
    read = line(record("routing_decision", **IDS, backend="local", input_tokens=None))
    assert list(read) == [
        "ts", "level", "role", "host", "event", "correlation_id", "trace_id", "backend",
        "input_tokens",
    ]  # fmt: skip
    assert (read["level"], read["role"], read["host"]) == ("info", "gateway", "desk")
    assert (read["event"], read["correlation_id"], read["trace_id"]) == (
        "routing_decision",
        "thread",
        "t1",
    )
    assert (read["backend"], read["input_tokens"]) == ("local", None)


def test_the_time_is_utc_with_milliseconds() -> None:
    made = record()
    made.created = 1_795_000_000.1239
    read = datetime.fromisoformat(line(made)["ts"])
    assert read.utcoffset() is not None
    assert read.timestamp() == pytest.approx(1_795_000_000.123, abs=0.0015)
    assert line(made)["ts"].endswith("+00:00")


def test_a_line_without_an_exchange_has_empty_ids() -> None:
    read = line(record("started"))
    assert (read["correlation_id"], read["trace_id"]) == ("", "")


def test_arguments_of_other_libraries_are_put_in() -> None:
    made = logging.LogRecord("other", logging.WARNING, "", 0, "%s is %d", ("x", 5), None)
    assert (line(made)["event"], line(made)["level"]) == ("x is 5", "warning")


def test_an_exception_is_in_the_line_with_its_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as exc:
        read = line(record("unexpected_error", exc_info=(type(exc), exc, exc.__traceback__), **IDS))
    assert "ValueError: two\nlines" in read["exception"]
    assert "test_logs.py" in read["exception"]


def test_a_field_cannot_take_the_place_of_a_settled_one() -> None:
    read = line(record(role="evil", host="evil", ts="evil", event="evil"))
    assert (read["role"], read["host"], read["event"]) == ("gateway", "desk", "request")
    assert read["ts"] != "evil"


@pytest.mark.parametrize(
    "odd",
    [object(), PurePosixPath("/x"), {1, 2}, {"a": object()}, b"x", float("nan"), 10**40, "\n\x00",
     ValueError("x"), {(1, 2): 3}, "\ud800", {"\udcff": 1}],
    ids=lambda odd: type(odd).__name__,
)  # fmt: skip
def test_a_field_of_any_type_still_makes_a_line(odd: Any) -> None:
    assert "odd" in line(record(odd=odd))


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    assert line(record(text.replace("%", "%%"), path=text))["path"] == text


def test_a_line_is_one_write_and_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    handler = LineHandler(writing)
    handler.setFormatter(JsonFormatter("gateway", "desk"))
    handler.emit(record("one"))
    assert json.loads(os.read(reading, 65536))["event"] == "one"
    os.close(reading)
    handler.emit(record("two"))
    os.close(writing)
    handler.emit(record("three"))


def test_an_access_line_has_the_same_names_and_only_levels_that_are_asked_for() -> None:
    reading, writing = os.pipe()
    lines = AccessLines("gateway", "info", writing)
    lines.write(logging.DEBUG, {"path": "/healthz"})
    lines.write(logging.INFO, {**IDS, "path": "/v1/\udcff", "status": 200})
    read = os.read(reading, 65536).decode()
    assert read.count("\n") == 1
    told = json.loads(read)
    assert (told["level"], told["role"], told["event"], told["status"]) == (
        "info",
        "gateway",
        "request",
        200,
    )
    assert (told["trace_id"], told["path"]) == ("t1", "/v1/\udcff")
    os.close(reading)
    lines.write(logging.INFO, IDS)
    os.close(writing)


def test_access_lines_that_come_together_leave_together_and_none_stays_behind() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    flushes: list[Callable[[], None]] = []
    lines = AccessLines("gateway", "info", writing, later=flushes.append)
    for number in range(3):
        lines.write(logging.INFO, {**IDS, "status": number})
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    flushes.pop()()
    assert not flushes
    told = os.read(reading, 65536).splitlines()
    assert [json.loads(line)["status"] for line in told] == [0, 1, 2]
    lines.write(logging.INFO, {**IDS, "status": 3})
    lines.flush()  # the end of the process
    assert json.loads(os.read(reading, 65536))["status"] == 3
    flushes.pop()()  # comes too late and finds nothing
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)
