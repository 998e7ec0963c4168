import pytest

from appliance.infra.datasets.language import LanguageDetector


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


SENTENCES = {
    "en": "Use a list comprehension; it is faster than a loop with append.",
    "de": "Bitte erkläre mir kurz, wie ein Dieselmotor funktioniert.",
    "fr": "Bonjour, comment ça va aujourd'hui ?",
    "es": "¿Dónde está la biblioteca?",
    "pl": "Dziękuję bardzo",
    "ja": "こんにちは、元気ですか",
    "zh": "今天天气怎么样?",
    "ko": "안녕하세요",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_told(detector: LanguageDetector, language: str) -> None:
    assert detector.language(SENTENCES[language], "") == language


@pytest.mark.parametrize(
    "text",
    ["", "42", "???", "OK", '{"a": 1, "b": [true, null]}', "x = [i**2 for i in range(10)]"],
)
def test_what_has_no_language_is_not_given_one(detector: LanguageDetector, text: str) -> None:
    assert detector.language(text, text) == "und"


def test_the_response_counts_and_the_prompt_where_it_tells_nothing(
    detector: LanguageDetector,
) -> None:
    assert detector.language(SENTENCES["de"], SENTENCES["en"]) == "de"
    assert detector.language("42", SENTENCES["fr"]) == "fr"


def test_code_between_the_sentences_is_left_out(detector: LanguageDetector) -> None:
    code = "```python\nfor each in the_list_of_things: print(each and every)\n```"
    assert detector.language(f"Das geht so, wie du willst:\n{code}", "") == "de"
