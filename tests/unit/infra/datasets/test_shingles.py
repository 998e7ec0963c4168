import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from appliance.infra.datasets.bands import Bands, rows_for
from appliance.infra.datasets.shingles import MinHashes, jaccard, shingles

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=30)


def _plainly(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[n : n + 3]) for n in range(len(words) - 2)}


@given(WORDS, WORDS)
def test_similarity_is_that_of_the_sets_of_three_words(one: list[str], other: list[str]) -> None:
    first, second = _plainly(one), _plainly(other)
    expected = len(first & second) / len(first | second)
    found = jaccard(shingles([" ".join(one)])[0], shingles([" ".join(other)])[0])
    assert found == expected


def test_an_operator_a_figure_and_a_character_of_chinese_are_words() -> None:
    for one, other in (("a + b", "a - b"), ("costs 10 now", "costs 11 now"), ("你好吗", "你好呀")):
        assert jaccard(shingles([one])[0], shingles([other])[0]) == 0.0
    assert len(shingles(["今天天气怎么样"])[0]) == 5


def test_no_shingle_reaches_from_one_text_into_the_next() -> None:
    apart, alone = shingles(["a b c", "d e f"])
    assert len(apart) == 2
    assert len(alone) == 1


def test_two_empty_texts_are_the_same_and_an_empty_one_is_like_no_other() -> None:
    empty = shingles([""])[0]
    assert jaccard(empty, shingles(["  "])[0]) == 1.0
    assert jaccard(empty, shingles(["a"])[0]) == 0.0


def test_equal_min_hashes_tell_the_similarity() -> None:
    one, other = (shingles([" ".join(map(str, range(n, n + 1000)))])[0] for n in (0, 200))
    hashes = MinHashes(512)
    told = float(np.mean(hashes.of(one) == hashes.of(other)))
    assert abs(told - jaccard(one, other)) < 0.08


def test_numbers_are_the_same_in_every_process() -> None:
    assert shingles(["what was kept stays as it was"])[0][:2].tolist() == KEPT


def test_near_pairs_share_a_key_whatever_is_called_near() -> None:
    for near in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99):
        rows = rows_for(near)
        assert 1 - (1 - near ** (2 * rows)) ** Bands(near).count >= 0.999
    assert Bands(1).count == 0
    assert Bands(0.9).count == 16


KEPT = [4355069120065134, 5576853332538400079]
