"""Which of several pairs stays, whatever order they are read in."""

import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.datasets.pair import Pair, identity, said
from appliance.infra.datasets.draft import Draft
from appliance.infra.datasets.duplicates import duplicates
from appliance.infra.datasets.shingles import jaccard, shingles
from tests.fakes.datasets import START, call, pair

LONG = " ".join(f"word{n}" for n in range(200))
ALMOST = LONG.replace("word100", "other")
TEXTS = (LONG, ALMOST, LONG.replace("word50 ", ""), "short", "short  ", "another one", "")


def _left_out(pairs: Sequence[Pair], near: float = 0.9) -> dict[str, str]:
    """By trace id."""
    with TemporaryDirectory() as folder, closing(Draft(Path(folder), near)) as draft:
        draft.open()
        for each in pairs:
            draft.add(each)
        gone = duplicates(draft.features(), draft.alike)
        return {draft.pair(number).trace_id: reason for number, reason in gone.items()}


def _numbers(gone: Iterable[str]) -> set[int]:
    return {int(trace_id, 16) for trace_id in gone}


PAIRS = st.lists(
    st.tuples(
        st.sampled_from(TEXTS),
        st.sampled_from(TEXTS),
        st.sampled_from((None, -1, 0, 5)),
        st.integers(0, 3),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False), st.sampled_from((0.6, 0.9)))
def test_the_order_of_reading_changes_nothing(
    drawn: list[tuple[str, str, int | None, int]], shuffler: random.Random, near: float
) -> None:
    pairs = [
        pair(n, prompt=p, response=r, rating=rating, created_at=START + timedelta(seconds=age))
        for n, (p, r, rating, age) in enumerate(drawn)
    ]
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    assert _left_out(pairs, near) == _left_out(shuffled, near)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_what_goes_is_truly_a_duplicate_of_what_stays(
    drawn: list[tuple[str, str, int | None, int]],
) -> None:
    pairs = [
        pair(n, prompt=p, response=r, rating=rating) for n, (p, r, rating, _) in enumerate(drawn)
    ]
    gone = _left_out(pairs)
    stay = [each for each in pairs if each.trace_id not in gone]
    assert len({identity(each) for each in stay}) == len(stay)
    for each in pairs:
        if each.trace_id in gone:
            assert any(_alike(each, other) for other in stay)


def _alike(one: Pair, other: Pair) -> bool:
    ours, theirs = shingles(said(one.conversation)), shingles(said(other.conversation))
    near = all(jaccard(a, b) >= 0.9 for a, b in zip(ours, theirs, strict=True))
    return identity(one) == identity(other) or near


def test_the_better_rated_stays_and_then_the_older() -> None:
    ratings = {1: None, 2: 3, 3: 3, 4: -1}
    pairs = [pair(n, prompt="a", response="b", rating=r) for n, r in ratings.items()]
    gone = _left_out(pairs)
    assert _numbers(gone) == {1, 3, 4}
    assert set(gone.values()) == {"exact_duplicate"}


def test_a_pair_nobody_rated_is_better_than_one_rated_badly() -> None:
    pairs = [pair(1, prompt="a", response="b", rating=-2), pair(2, prompt="a", response="b")]
    assert _numbers(_left_out(pairs)) == {1}


def test_a_word_in_two_hundred_makes_a_near_duplicate() -> None:
    pairs = [pair(1, prompt="Tell me", response=LONG), pair(2, prompt="Tell me", response=ALMOST)]
    assert _left_out(pairs) == {pairs[1].trace_id: "near_duplicate"}
    assert _left_out(pairs, near=1) == {}
    assert _left_out(pairs, near=0.99) == {}


def test_one_document_and_two_questions_are_two_pairs() -> None:
    asked = {"Who wrote it?": "Ada did.", "When was it?": "In 1843."}
    pairs = [
        pair(n, prompt=f"{LONG} {question}", response=answer)
        for n, (question, answer) in enumerate(asked.items())
    ]
    assert _left_out(pairs) == {}


def test_one_answer_to_two_questions_is_two_pairs() -> None:
    prompts = (LONG, " ".join(reversed(LONG.split())))
    assert _left_out([pair(n, prompt=p, response="Yes.") for n, p in enumerate(prompts)]) == {}


def test_turns_of_one_long_conversation_are_no_duplicates() -> None:
    before = ({"role": "user", "content": LONG}, {"role": "assistant", "content": LONG})
    pairs = [
        pair(n, messages=(*before, {"role": "user", "content": text}), response=f"It is {text}.")
        for n, text in enumerate(("one", "two", "three"))
    ]
    assert _left_out(pairs) == {}


def test_of_answers_that_are_calls_the_arguments_count() -> None:
    pairs = [pair(n, prompt="?", response="", tool_calls=(call(n, a),)) for n, a in enumerate("ab")]
    again = pair(5, prompt="?", response="", tool_calls=(call(5, "a"),))
    assert _numbers(_left_out([*pairs, again])) == {5}


def test_many_of_one_template_leave_one_each() -> None:
    pairs = [
        pair(n, prompt="Tell me", response=f"{LONG} {'x' * (n % 3)}{n // 3 * '!'}")
        for n in range(90)
    ]
    gone = _left_out(pairs)
    stay = [each for each in pairs if each.trace_id not in gone]
    assert pairs[0] in stay
    assert 1 <= len(stay) <= 20


def test_nothing_read_is_nothing_left_out() -> None:
    assert _left_out([]) == {}
