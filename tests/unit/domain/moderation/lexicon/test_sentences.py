import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.moderation.lexicon.sentences import portions, sentences


def words(text: str) -> list[str]:
    """Those of all sentences."""
    return [word for sentence in sentences(text) for word in sentence.words]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("I'll go", "i will go"),
        ("I can’t, won't, dont", "i ca not , wo not , do not"),
        ("im someone's", "i am someone"),
        ("k1ll", "kill"),
        ("b!tch", "bitch"),
        ("kiiiill", "kill"),
        ("k.i.l.l you", "kill you"),
        ("k i l l you", "kill you"),
        ("ｋｉｌｌ", "kill"),
        ("kíll", "kill"),
        ("кill", "kill"),
        ("ki\u200bll", "kill"),
        ("ki\ufdfall", "kill"),
        ("14-year-old 2nd", "14 year old 2 nd"),
    ],
)
def test_disguises_that_are_cheap_to_undo_are_undone(text: str, read: str) -> None:
    assert words(text) == read.split()


def test_sentences_end_and_pause_where_the_text_does() -> None:
    assert [s.words for s in sentences("One, two. Three!\n\nFour")] == [
        ["one", ",", "two"],
        ["three"],
        ["four"],
    ]


def test_what_stands_in_quotation_marks_is_known_to() -> None:
    (sentence,) = sentences('he said "go away" twice')
    assert [w for w, q in zip(sentence.words, sentence.quoted, strict=True) if q] == ["go", "away"]


def test_a_mark_nobody_closed_ends_with_its_paragraph() -> None:
    assert [s.quoted for s in sentences('an "open\nmark')] == [[False, True], [False]]


def test_a_sentence_without_an_end_is_cut() -> None:
    assert [len(s.words) for s in sentences("word " * 1000)] == [400, 400, 200]


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    for sentence in sentences(text):
        assert sentence.words
        assert len(sentence.words) == len(sentence.quoted)


@given(st.text(alphabet="ab. \n", max_size=200), st.integers(0, 30))
def test_portions_are_the_text(text: str, times: int) -> None:
    assert "".join(portions(text * times)) == text * times


def test_a_portion_ends_with_a_sentence_else_with_a_word() -> None:
    assert [len(p) for p in portions("a" * 1500 + ". " + "b" * 1500)] == [1501, 1501]
    assert [len(p) for p in portions("a" * 1500 + " " + "b" * 1500)] == [1501, 1500]
    assert [len(p) for p in portions("a" * 4500)] == [2000, 2000, 500]
