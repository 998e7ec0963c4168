import pytest

from appliance.domain.moderation.lexicon.phrases import Found, find, phrase

SETS = {"person": frozenset({"him", "her"})}


def found(text: str, sentence: str, begin: int = 0) -> Found | None:
    return find(phrase(text, SETS), sentence.split(), begin)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("see", "see"),
        ("see/hear <person>", "hear her"),
        ("see <person>/them", "see them"),
        ("see .. <person>", "see him"),
        ("see .. <person>", "see all of her"),
        ("see the? man", "see man"),
        ("see the? man", "see the man"),
        ("see .. the? man", "see what the man"),
        ("see a .. a b", "see a c a a b"),
    ],
)
def test_a_phrase_is_found(text: str, sentence: str) -> None:
    match = found(text, sentence)
    assert match is not None
    assert (match.begin, match.end) == (0, len(sentence.split()))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("see", "saw"),
        ("see <person>", "see"),
        ("see <person>", "see all her"),
        ("see .. <person>", "see one two three four her"),
        ("see the? man", "see a man"),
    ],
)
def test_another_is_not(text: str, sentence: str) -> None:
    assert found(text, sentence) is None


def test_the_words_between_are_told() -> None:
    assert found("see .. her", "i see all of her", 1) == Found(1, 5, (2, 3))


@pytest.mark.parametrize("text", ["", ".. word", "word? more"])
def test_a_phrase_begins_with_a_word(text: str) -> None:
    with pytest.raises(ValueError, match="does not begin"):
        phrase(text, SETS)


def test_a_set_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError):
        phrase("see <nobody>", SETS)
