import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.terminal import clipped, columns, flat, padded, plain, wrapped


@pytest.mark.parametrize(
    "hostile", ["\x1b[31m", "\x07", "\x00", "\r", "\x9b", "\u202e", "\u200f", "\u2066", "\ud800"]
)
def test_nothing_that_commands_a_terminal_is_left(hostile: str) -> None:
    assert plain(f"a{hostile}b").isprintable()
    assert flat(f"a{hostile}b").isprintable()


@pytest.mark.parametrize(("text", "wide"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0)])
def test_width_is_counted_in_columns(text: str, wide: int) -> None:
    assert columns(text) == wide


@pytest.mark.parametrize(
    ("text", "shown"),
    [("12345", "12345"), ("123456", "1234…"), ("漢字漢", "漢字…"), ("漢字漢字", "漢字…")],
)
def test_what_is_too_long_is_clipped(text: str, shown: str) -> None:
    assert clipped(text, 5) == shown
    assert columns(padded(text, 5)) == 5


def test_lines_break_between_words_and_keep_the_blanks_within() -> None:
    assert list(wrapped("one  two three", 9)) == ["one  two", "three"]
    assert list(wrapped("abcdefghij kl", 4)) == ["abcd", "efgh", "ij", "kl"]
    assert list(wrapped("", 4)) == [""]


@given(st.text(max_size=60), st.integers(2, 12))
def test_no_line_is_wider_and_no_word_is_lost(text: str, width: int) -> None:
    lines = list(wrapped(text, width))
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(plain(text).split())
