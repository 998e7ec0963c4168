from appliance.domain.datasets.pair import chars, identity, normalised, said
from tests.fakes.datasets import call, pair


def test_white_space_and_composition_make_no_difference() -> None:
    assert normalised(" Cafe\u0301  is\n\topen ") == "Café is open"
    one = pair(prompt="Is the café open?", response="Yes.\n")
    other = pair(2, prompt="Is  the cafe\u0301 open?", response="Yes.")
    assert identity(one) == identity(other)


def test_the_ids_of_calls_make_no_difference_and_their_arguments_do() -> None:
    one, again = (pair(n, prompt="?", response="", tool_calls=(call(n),)) for n in (1, 2))
    other = pair(3, prompt="?", response="", tool_calls=(call(1, "{}"),))
    assert identity(one) == identity(again)
    assert identity(one) != identity(other)


def test_what_is_said_by_whom_makes_a_difference() -> None:
    one = pair(messages=({"role": "user", "content": "a"}, {"role": "user", "content": "b"}))
    other = pair(messages=({"role": "system", "content": "a"}, {"role": "user", "content": "b"}))
    joined = pair(messages=({"role": "user", "content": "a b"},))
    assert len({identity(one), identity(other), identity(joined)}) == 3


def test_the_answer_is_openais_assistant_message() -> None:
    assert pair(response="Hi").answer == {"role": "assistant", "content": "Hi"}
    called = pair(response="", tool_calls=(call(1),)).answer
    assert called == {"role": "assistant", "content": None, "tool_calls": [call(1)]}


def test_calls_are_said_and_counted_with_the_text() -> None:
    called = pair(response="", tool_calls=(call(1, "{}"),)).answer
    assert said([called]) == [" weather {}"]
    assert chars([called, {"role": "user", "content": "abc"}]) == len("weather{}abc")
