from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.parts import Reasoning, Refusal, Text, ToolCall
from appliance.domain.conversation.stream import Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage


def collected(*deltas: Delta) -> tuple[Choice, ...]:
    whole = Collector()
    whole.add(deltas)
    return whole.choices


def test_adjacent_steps_of_one_kind_are_one_part_and_the_order_stays() -> None:
    (choice,) = collected(
        Delta(reasoning="a"),
        Delta(reasoning="b"),
        Delta(signature="s"),
        Delta(text="c"),
        Delta(text="d"),
        Delta(reasoning="e"),
        Delta(text="f"),
        Delta(finish_reason="stop", stop_sequence="END"),
    )
    assert choice.parts == (Reasoning("ab", "s"), Text("cd"), Reasoning("e"), Text("f"))
    assert (choice.text, choice.reasoning) == ("cdf", "abe")
    assert (choice.finish_reason, choice.stop_sequence) == ("stop", "END")


def test_a_signed_block_is_complete_and_the_next_thought_is_another() -> None:
    (choice,) = collected(
        Delta(reasoning="a"), Delta(signature="s"), Delta(reasoning="b"), Delta(redacted="r")
    )
    assert choice.parts == (Reasoning("a", "s"), Reasoning("b"), Reasoning(redacted="r"))


def test_calls_grow_by_index_whatever_their_order() -> None:
    (choice,) = collected(
        Delta(tool_calls=(ToolCallDelta(0, "a", "first"), ToolCallDelta(1, "b", "second"))),
        Delta(tool_calls=(ToolCallDelta(1, arguments="{}"),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments='{"x":'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments="1}"),)),
    )
    assert choice.tool_calls == (ToolCall("a", "first", '{"x":1}'), ToolCall("b", "second", "{}"))


def test_choices_do_not_mix_and_come_by_index() -> None:
    second, first = Delta(index=1, text="b"), Delta(index=0, text="a")
    assert [(c.index, c.text) for c in collected(second, first)] == [(0, "a"), (1, "b")]


def test_nothing_said_is_one_empty_choice() -> None:
    whole = Collector()
    whole.add((Delta(model="m", usage=Usage(1, 0)),))
    assert whole.choices == (Choice(),)
    assert (whole.model, whole.usage) == ("m", Usage(1, 0))


def test_a_refusal_is_a_part_of_its_own() -> None:
    (choice,) = collected(Delta(text="a"), Delta(refusal="b"), Delta(refusal="c"))
    assert choice.parts == (Text("a"), Refusal("bc"))
    assert (choice.text, choice.refusal) == ("a", "bc")
