"""Models loop: a long run of one thing must not cost its square, for it is read on the loop that
serves everybody."""

import tracemalloc

import pytest

from appliance.domain.conversation.options import ResponseFormat, Tool
from appliance.domain.conversation.stream import Delta
from appliance.domain.parsing.calls.invoke_xml import INVOKE_XML
from appliance.domain.parsing.calls.syntax import NotACall, Toolbox
from tests.unit.domain.parsing.running import ALL, chain, collected, once, run

LONG = 300_000
GUARD_S = 150  # what takes a fraction of a second; the square of LONG takes many minutes
JSON = ResponseFormat("json_object")


pytestmark = pytest.mark.timeout(GUARD_S)
DEEPSEEK = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>clock<｜tool▁sep｜>"


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("gemma4", "<|tool_call>call:clock{" + "a" * LONG + "}<tool_call|>"),
        ("llama3", '```json\n{"name": "clock", "arguments": {"a": "' + " " * LONG + '"'),
        ("deepseek-v3", f'{DEEPSEEK}```json\n{{"a": "{" " * LONG}x<｜tool▁call▁end｜>'),
        (
            "gpt-oss",
            "<|channel|>commentary to=functions.clock<|message|>{" + " " * LONG + "x<|call|>",
        ),
    ],
)
def test_a_call_that_goes_on_in_one_character_is_read_at_once(family: str, text: str) -> None:
    assert "".join(step.text for step in run(chain(family), [Delta(0, text)])) == text


@pytest.mark.parametrize(
    "text",
    [
        f'<invoke name="clock">{" " * LONG}x</invoke>',
        f'<invoke name="clock"><parameter name=a{" " * LONG}</invoke>',
        f"<invoke name=clock{' ' * LONG}",
    ],
)
def test_space_between_elements_is_read_at_once(text: str) -> None:
    with pytest.raises(NotACall):
        INVOKE_XML.read(text, Toolbox((Tool("clock"),)))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("[" + ", ".join(["1"] * LONG) + "]", "[" + ", ".join(["1"] * LONG) + "]"),
        ("{x" * LONG, "{x" * LONG),
    ],
)
def test_long_json_is_read_at_once(text: str, whole: str) -> None:
    asked = ResponseFormat("json_schema", schema={"x": 1})
    under_test = chain(stages=ALL, tools=(), response_format=asked)
    assert collected(run(under_test, [Delta(0, text)])).text == whole


@pytest.mark.parametrize("begins", ["", "{x} ", "{", '{"a": 1,'])
def test_json_that_never_comes_is_not_looked_for_from_the_beginning_again(begins: str) -> None:
    under_test = chain(stages=ALL, tools=(), response_format=JSON)
    piece = "lorem {ipsum} " if begins == "{x} " else "lorem " if not begins else "\n" * 6
    texts = [begins, *[piece] * 30_000]
    run(under_test, [Delta(0, text) for text in texts if text])


def test_a_long_stop_string_does_not_cost_its_square() -> None:
    stop = "x" * 20_000 + "y"
    tracemalloc.start()
    try:
        under_test = chain(stages=ALL, tools=(), stop=(stop,))
        said = collected(run(under_test, [Delta(0, "a" + "x" * 500), Delta(0, "z")])).text
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said == "a" + "x" * 500 + "z"
    assert peak_bytes < 20_000_000


def test_many_empty_blocks_of_reasoning_are_read_at_once() -> None:
    text = "<think></think>" * (LONG // 2)
    assert once(text, family="qwen3").text == ""
