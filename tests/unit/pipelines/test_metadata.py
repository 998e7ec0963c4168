"""What a materialisation says is safe to show, whatever is in a row."""

from appliance.domain.events.delivery import Written
from appliance.infra.nats.consumer.drained import Drained
from appliance.pipelines.metadata import markdown, of_drained, of_times


def test_a_text_stays_in_its_cell() -> None:
    told = markdown([{"id": "a|b", "text": "one\n| two |\n```x"}])
    assert told.count("\n") == 2
    assert told.splitlines()[2] == "| a&#124;b | one &#124; two &#124; &#96;&#96;&#96;x |"


def test_a_text_loads_nothing_from_elsewhere() -> None:
    told = markdown([{"text": "![x](https://evil.example/a.png) <img src=x>"}])
    for mark in ("![", "](", "://", "<img"):
        assert mark not in told


def test_a_table_without_rows_says_so() -> None:
    assert markdown([]) == "no rows of the last hour"


def test_rows_are_counted_by_table() -> None:
    written = Written({"a": 5, "b": 1}, {"a": 3, "b": 0}, forgotten=2)
    drained = Drained(4, 1, 1, written, [(5, 9), (12, 13)], None, None, None, False)
    found = of_drained(drained, ("a", "b"))
    assert (found["rows_written"], found["rows_already_there"]) == (3, 3)
    assert (found["a/rows_written"], found["a/rows_already_there"]) == (3, 2)
    assert (found["b/rows_written"], found["b/rows_already_there"]) == (0, 1)
    assert (found["events"], found["forgotten"], found["retried"], found["buried"]) == (4, 2, 1, 1)
    assert found["last_sequence"] == 13


def test_times_nobody_can_read_are_left_out() -> None:
    assert set(of_times("2026-11-21T14:00:00Z", "soon")) == {"oldest"}
    assert of_times(None, None) == {}
