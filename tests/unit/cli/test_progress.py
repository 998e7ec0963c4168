import pytest

from appliance.cli.progress import Progress, table_lines, written_lines
from appliance.domain.events.delivery import Written


def test_what_is_done_at_once_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(lambda: now[0]) as progress:
        progress.show("read", 500, 9500)
    assert capsys.readouterr().err == ""


def test_what_takes_long_shows_a_line_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress(lambda: now[0]) as progress:
        for tenth in range(25):
            now[0] = tenth / 10
            progress.show("read", tenth, 25 - tenth)
    assert capsys.readouterr().err.splitlines() == [
        "read: 10 messages, at most 15 to go",
        "read: 20 messages, at most 5 to go",
    ]


def test_a_table_is_aligned() -> None:
    lines = table_lines(("table", "rows"), [("chat_pairs", "7"), ("x", "12345")])
    assert lines == ["table        rows", "chat_pairs      7", "x           12345"]


def test_rows_already_there_are_what_was_offered_and_not_inserted() -> None:
    written = Written({"a": 5, "b": 2}, {"a": 2, "b": 2}, forgotten=3)
    _, a, b, forgotten = written_lines(written)
    assert (a.split(), b.split()) == (["a", "2", "3"], ["b", "2", "0"])
    assert forgotten.startswith("3 of somebody")
    assert written_lines(Written()) == []
