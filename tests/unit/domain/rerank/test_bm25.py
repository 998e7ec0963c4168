"""BM25 by hand: three texts, two words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.rerank.bm25 import MAX_CHARS, bm25, words


def test_three_texts_by_hand() -> None:
    texts = ["red fox", "red red red bird", "a blue bird flies"]
    # Lengths 2, 4, 4: 10/3 on average.  red is in two of three texts, fox in one.
    red = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    fox = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))

    def part(weight: float, times: int, length: int) -> float:
        return weight * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / (10 / 3)))

    first = part(red, 1, 2) + part(fox, 1, 2)
    assert bm25("Red FOX", texts) == pytest.approx([first, part(red, 3, 4), 0.0])


def test_a_word_asked_twice_counts_twice() -> None:
    texts = ["red fox", "blue bird"]
    assert bm25("red red", texts)[0] == pytest.approx(2 * bm25("red", texts)[0])


def test_a_rare_word_is_worth_more_than_a_common_one() -> None:
    texts = ["the shed", "the sea", "the bicycle", "the sky"]
    scores = bm25("the bicycle", texts)
    assert scores.index(max(scores)) == 2
    assert min(scores) > 0  # a word in every text still counts a little, and never against one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop_me: 42,5!", ["don", "t", "stop", "me", "42", "5"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("Ärger über Ñandú", ["ärger", "über", "ñandú"]),
        ("東京都 is Tokyo", ["東京", "京都", "is", "tokyo"]),
        ("猫", ["猫"]),
        ("안녕하세요", ["안녕", "녕하", "하세", "세요"]),
        ("abc東京def", ["abc", "東京", "def"]),
        ("  …—  ", []),
        ("", []),
    ],
)
def test_what_a_word_is(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_only_the_beginning_of_a_very_long_text_is_read() -> None:
    assert words(" " * MAX_CHARS + "late") == []


@pytest.mark.parametrize("query", ["", "—", "nothing of it"])
def test_a_query_that_matches_nothing_scores_nothing(query: str) -> None:
    assert bm25(query, ["red fox", "—"]) == [0.0, 0.0]
    assert bm25(query, []) == []


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=6))
def test_every_text_has_a_finite_score_that_is_not_negative(query: str, texts: list[str]) -> None:
    scores = bm25(query, texts)
    assert len(scores) == len(texts)
    assert all(math.isfinite(score) and score >= 0 for score in scores)
