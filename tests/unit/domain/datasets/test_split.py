"""A pair never moves: not with others, not with a larger share, not with its neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.datasets.pair import ChatMessage
from appliance.domain.datasets.split import side_of
from tests.fakes.datasets import pair

SHARES = st.floats(0, 0.999)


@given(st.text(), SHARES, SHARES)
def test_a_larger_share_only_adds_to_validation(prompt: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    made = pair(prompt=prompt)
    if side_of(made, "pair", less) == "validation":
        assert side_of(made, "pair", more) == "validation"


@given(st.text(), st.text(), st.text(), SHARES)
def test_two_answers_to_one_prompt_are_on_one_side(
    prompt: str, first: str, second: str, share: float
) -> None:
    one = pair(1, prompt=prompt, response=first)
    other = pair(2, prompt=f" {prompt}\n", response=second, rating=5, model="another")
    assert side_of(one, "pair", share) == side_of(other, "pair", share)


def _turns(opening: str, said: list[str]) -> list[tuple[ChatMessage, ...]]:
    """What clients send with each turn: all turns before it, too."""
    messages: list[ChatMessage] = [{"role": "user", "content": opening}]
    turns = [tuple(messages)]
    for text in said:
        messages += [{"role": "assistant", "content": "And?"}, {"role": "user", "content": text}]
        turns.append(tuple(messages))
    return turns


@given(st.text(), st.lists(st.text(), max_size=4), SHARES)
def test_the_turns_of_a_conversation_that_nobody_named_are_on_one_side(
    opening: str, said: list[str], share: float
) -> None:
    turns = _turns(opening, said)
    made = [pair(n, messages=messages) for n, messages in enumerate(turns)]
    assert len({side_of(each, "conversation", share) for each in made}) == 1


@given(st.lists(st.text(), min_size=2, max_size=4), SHARES)
def test_a_conversation_with_a_name_is_on_one_side_however_it_goes_on(
    openings: list[str], share: float
) -> None:
    made = [pair(n, prompt=text, conversation_id="mine") for n, text in enumerate(openings)]
    assert len({side_of(each, "conversation", share) for each in made}) == 1


def test_the_sides_are_those_of_the_first_release() -> None:
    sides = "".join(side_of(pair(n), "pair", 0.25)[0] for n in range(40))
    assert sides == SIDES_OF_THE_FIRST_RELEASE


def test_validation_gets_about_its_share() -> None:
    drawn = [side_of(pair(n), "pair", 0.1) for n in range(2000)]
    assert 150 < drawn.count("validation") < 250


def test_a_share_of_nothing_leaves_all_in_train() -> None:
    assert {side_of(pair(n), "pair", 0.0) for n in range(200)} == {"train"}


SIDES_OF_THE_FIRST_RELEASE = "tvtvttvttttttvttvtvtvttttttttvvvvttttttt"
