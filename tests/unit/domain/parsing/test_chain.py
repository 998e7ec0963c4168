"""Deltas through the chain: what stays the same object, what is told once, and reasoning."""

import pytest

from appliance.domain.conversation.logprobs import TokenLogprob
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.options import Options, ResponseFormat, ToolChoice
from appliance.domain.conversation.parts import (
    Image,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.parsing.chain import Chain, Parsing
from appliance.domain.parsing.families import FAMILIES
from tests.unit.domain.parsing.running import ALL, TOOLS, chain, collected, plainly, run, streamed
from tests.unit.domain.parsing.texts import CALLS

OPENED = {"qwen3-thinking", "deepseek-r1", "minimax-m2"}  # their text begins as reasoning
CALL = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - OPENED))
@pytest.mark.parametrize("stages", [(), ("tool_call", "reasoning", "vision"), ALL])
def test_plain_text_passes_as_the_same_objects(family: str, stages: tuple[str, ...]) -> None:
    deltas = [
        Delta(source={"role": 1}),
        Delta(text="Hello", source={"n": 1}),
        Delta(text=" world, a < b", source={"n": 2}, usage=Usage(1, 1), model="m"),
        Delta(text=" [x] {y}", source={"n": 3}),
        Delta(finish_reason="stop", source={"n": 4}),
        Delta(usage=Usage(1, 2), source={"n": 5}),
    ]

    out = run(chain(family, stages), deltas)

    assert len(out) == len(deltas)
    assert all(new is old for new, old in zip(out, deltas, strict=True))


def test_what_was_held_for_nothing_leaves_as_it_came() -> None:
    deltas = [Delta(text="x"), Delta(text="<tool"), Delta(source={"ping": 1}), Delta(text="_x>")]

    out = run(chain(), deltas)

    assert [id(delta) for delta in out] == [id(delta) for delta in deltas]


def test_source_usage_and_model_are_told_once_when_a_step_is_cut() -> None:
    source = {"n": 1}
    delta = Delta(
        text="<think>a</think>b", source=source, usage=Usage(1, 2), model="m", finish_reason="stop"
    )

    out = run(chain(), [delta])

    assert plainly(collected(out)) == [{"thinks": "a"}, "b"]
    assert [step.source for step in out] == [source, None]
    assert [step.usage for step in out] == [Usage(1, 2), None]
    assert [step.finish_reason for step in out] == [None, "stop"]
    assert all(step.altered for step in out)


def test_usage_of_text_that_is_gone_is_told() -> None:
    deltas = [Delta(text=CALL, usage=Usage(3, 4), model="m"), Delta(finish_reason="stop")]

    out = run(chain(), deltas)

    assert [step.usage for step in out if step.usage] == [Usage(3, 4)]
    assert collected(out).finish_reason == "tool_calls"


def test_a_call_comes_before_the_finish_reason_of_its_own_step() -> None:
    out = run(chain(), [Delta(text=CALL, finish_reason="stop")])

    assert [bool(step.tool_calls) for step in out] == [True, False]
    assert out[-1].finish_reason == "tool_calls"


def test_calls_are_read_before_the_stream_ends() -> None:
    out = chain().feed(Delta(text=f"Now. {CALL}"))

    assert [step.text for step in out] == ["Now. ", ""]
    assert out[1].tool_calls[0].name == "clock"


def test_prose_is_not_held_back_for_what_cannot_be_a_call() -> None:
    under_test = chain("hermes")
    under_test.feed(Delta(text="a"))

    out = [*under_test.feed(Delta(text=" <tool_call> is")), *under_test.feed(Delta(text=" a tag"))]

    assert "".join(step.text for step in out) == " <tool_call> is a tag"


def test_tool_choice_none_leaves_calls_in_the_text() -> None:
    choice = streamed([CALL], tool_choice=ToolChoice("none"))

    assert choice.text == CALL


def test_a_text_completion_is_only_cut() -> None:
    request = ChatRequest(
        "m",
        (plain("user", "x"),),
        options=Options(tools=TOOLS, stop=("END",)),
        operation="text_completion",
    )
    deltas = [Delta(text=f"  <think>a</think>{CALL} END b")]

    out = run(Chain(Parsing("qwen3-thinking", ALL), request), deltas)

    assert collected(out).text == f"  <think>a</think>{CALL} "


def test_mlx_vlm_1408_reasoning_by_field_stays_and_its_text_is_text() -> None:
    deltas = [Delta(reasoning="hm"), Delta(text="<think>a</think>b"), Delta(finish_reason="stop")]

    out = run(chain("deepseek-r1"), deltas)

    assert [id(new) for new in out] == [id(old) for old in deltas]


def test_reasoning_by_field_in_a_family_whose_template_opens_the_tag() -> None:
    out = run(chain("qwen3-thinking"), [Delta(reasoning="hm"), Delta(text="Hi")])

    assert plainly(collected(out)) == [{"thinks": "hm"}, "Hi"]


@pytest.mark.parametrize("pieces", [["<th", "ink>a</th", "ink>\n\nb"], list("<think>a</think>\nb")])
def test_a_tag_split_across_chunks_is_a_tag(pieces: list[str]) -> None:
    assert plainly(streamed(pieces)) == [{"thinks": "a"}, "b"]


def test_reasoning_streams_as_it_comes_with_its_source() -> None:
    under_test = chain("qwen3")
    under_test.feed(Delta(text="<think>"))
    under_test.feed(Delta(text="a"))

    (step,) = under_test.feed(Delta(text=" b", source={"n": 1}, usage=Usage(1, 1)))

    assert (step.reasoning, step.text, step.source) == (" b", "", {"n": 1})
    assert step.altered
    assert step.usage == Usage(1, 1)


@pytest.mark.parametrize(
    ("family", "text", "parts"),
    [
        ("qwen3", "<think>\n\n</think>\n\nHi", ["Hi"]),
        ("qwen3", "<think>a</think>\n<think>b</think>c", [{"thinks": "ab"}, "c"]),
        ("qwen3", "<think>a <think>b</think>c</think>d", [{"thinks": "a <think>b"}, "c</think>d"]),
        ("qwen3", "<think>cut off", [{"thinks": "cut off"}]),
        ("qwen3", "Hi <think>a</think>", ["Hi <think>a</think>"]),
        ("", "a</think>b", ["a</think>b"]),
        ("qwen3-thinking", "a\n</think>\n\nb", [{"thinks": "a\n"}, "b"]),
        ("qwen3-thinking", "<think>\na</think>b", [{"thinks": "a"}, "b"]),
        ("deepseek-r1", "never closed", [{"thinks": "never closed"}]),
        ("magistral", "<think>a</think>b", [{"thinks": "a"}, "b"]),
        ("granite", "Here's my thought process: a Here's my response: b", [{"thinks": "a "}, "b"]),
    ],
)
def test_where_reasoning_begins_and_ends(family: str, text: str, parts: list[object]) -> None:
    assert plainly(streamed([text], family=family)) == parts
    assert plainly(streamed(list(text), family=family)) == parts


def test_reasoning_off_leaves_the_tags_and_still_reads_calls_behind_them() -> None:
    text = f"<think>{CALL}</think>"
    choice = streamed([text + CALL], family="qwen3", stages={"tool_call"})

    assert choice.text == text
    assert len(choice.tool_calls) == 1


def test_litellm_34692_no_blank_text_before_a_call() -> None:
    native = [
        Delta(text="\n\n"),
        Delta(tool_calls=[ToolCallDelta(0, "a", "clock", "{}")]),
        Delta(finish_reason="tool_calls"),
    ]

    assert collected(run(chain(), native)).parts == (ToolCall("a", "clock", "{}"),)
    assert len(streamed(["\n\n", CALL]).parts) == 1


def test_a_step_that_says_several_things_is_taken_apart() -> None:
    delta = Delta(
        text="Hi",
        reasoning="hm",
        tool_calls=[ToolCallDelta(0, "a", "clock", "{}")],
        finish_reason="stop",
        source={"n": 1},
        usage=Usage(1, 2),
    )

    out = run(chain(), [delta])

    assert [bool(s.reasoning) + bool(s.text) + bool(s.tool_calls) for s in out] == [1, 1, 1]
    assert [step.source for step in out if step.source] == [{"n": 1}]
    assert [step.usage for step in out if step.usage] == [Usage(1, 2)]
    assert out[-1].finish_reason == "tool_calls"


def test_choices_are_parsed_apart() -> None:
    deltas = [Delta(0, "<thi"), Delta(1, "<tool"), Delta(0, "nk>a</think>b"), Delta(1, "x")]

    out = run(chain(), deltas)

    assert "".join(step.text for step in out if step.index == 1) == "<toolx"
    assert plainly(collected([step for step in out if step.index == 0])) == [{"thinks": "a"}, "b"]


def test_an_answer_nothing_is_found_in_is_the_same_object() -> None:
    parts = (Reasoning("hm"), Text("Hi", {"type": "text"}), ToolCall("a", "clock", "{}"))
    answer = Answer((Choice(0, parts, "tool_calls"),), Usage(1, 2), "m", {"n": 1})

    assert chain().answer(answer) is answer


def test_an_altered_answer_says_so_and_keeps_the_rest() -> None:
    other = Choice(1, (Image(data="x"),), "stop")
    answer = Answer((Choice(0, (Text(CALL),), "stop"), other), Usage(1, 2), "m", {"n": 1})

    parsed = chain().answer(answer)

    assert parsed.altered
    assert (parsed.usage, parsed.model, parsed.source) == (Usage(1, 2), "m", {"n": 1})
    assert parsed.choices[0].finish_reason == "tool_calls"
    assert parsed.choices[1] is other


@pytest.mark.parametrize("name", CALLS)
def test_a_family_that_is_not_the_models_loses_nothing(name: str) -> None:
    _, text, _ = CALLS[name]

    assert streamed([text], family="openai").text == text


def test_a_model_that_loops_over_an_opening_costs_no_square_of_its_answer() -> None:
    text = '<tool_call>\n{"name": "clock", "arguments": {"a": "' * 4000

    assert streamed([text]).text == text


@pytest.mark.parametrize(
    ("family", "parts"), [("deepseek-r1", ["Sunny."]), ("minimax-m2", [{"thinks": "Sunny."}])]
)
def test_a_template_may_not_open_the_tag_after_a_tools_result(
    family: str, parts: list[object]
) -> None:
    told = Message("tool", (ToolResult("a", (Text("sun"),)),))
    request = ChatRequest("m", (plain("user", "hi"), told))

    out = run(Chain(Parsing(family), request), [Delta(text="Sunny.")])

    assert plainly(collected(out)) == parts


def test_json_in_text_is_no_call_in_the_middle_of_an_answer_in_json() -> None:
    asked = ResponseFormat("json_object")
    text = '{"result": {"name": "clock", "arguments": {}}}'

    assert streamed([text], response_format=asked).text == text


REFUSED = [
    Delta(refusal='<think>No.</think> {"a":'),
    Delta(refusal=CALL),
    Delta(finish_reason="stop"),
]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("stages", [(), ALL])
def test_nothing_is_looked_for_in_a_refusal(family: str, stages: tuple[str, ...]) -> None:
    under_test = chain(family, stages, response_format=ResponseFormat("json_object"))
    out = run(under_test, REFUSED)
    assert [id(step) for step in out] == [id(step) for step in REFUSED]

    choice = Choice(0, (Refusal(CALL),), "stop")
    assert chain(family, stages).answer(Answer((choice,))).first == choice


def test_what_is_held_comes_before_a_refusal() -> None:
    out = run(chain(), [Delta(text="so <thi"), *REFUSED])
    assert "".join(step.text or "|" for step in out) == "so <thi|||"


def likely(*tokens: str) -> tuple[TokenLogprob, ...]:
    return tuple(TokenLogprob(token, -1.0, token.encode()) for token in tokens)


def test_a_step_that_is_cut_keeps_the_logprobs_of_its_text() -> None:
    delta = Delta(text="<think>a</think>b c", finish_reason="stop")
    delta.logprobs = likely("<think>", "a", "</think>", "b", " c")
    assert [list(step.logprobs) for step in run(chain(), [delta])] == [[], list(likely("b", " c"))]


def test_a_whole_answer_that_is_cut_keeps_the_logprobs_of_its_text() -> None:
    tokens = likely("<think>", "a", "</think>", "b", " c")
    choice = Choice(0, (Text("<think>a</think>b c"),), "stop", logprobs=tokens)
    parsed = chain().answer(Answer((choice,))).first
    assert (parsed.text, list(parsed.logprobs)) == ("b c", list(likely("b", " c")))
    plain_one = Choice(0, (Text("b c"),), "stop", logprobs=likely("b", " c"))
    assert chain().answer(Answer((plain_one,))).first is plain_one
