from collections.abc import Callable
from typing import Any

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.attempts import Attempts, RetryPolicy
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import BackendTimeout
from appliance.domain.identity import Identity
from appliance.domain.routing.candidate import Candidate, Plan

MESSAGES = (Message("user", "hi", {"role": "user", "content": "hi", "name": "ann"}),)


class Ticking:
    """Each look is a second later."""

    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def turn(clock: Callable[[], float] | None = None, **extensions: str) -> Turn:
    request = ChatRequest(
        "m", MESSAGES, stream=True, params={"seed": 1}, extensions=Extensions(**extensions)
    )
    return Turn(
        request=request,
        caller=Caller(Identity("t" * 32, "thread"), "openai_chat", Key("ci", "")),
        host="desk",
        wall=1_795_000_000.5,
        started=10.0,
        monotonic=clock or Ticking(),
    )


def call(
    index: int | None = None, id: str = "", name: str = "", arguments: Any = ""
) -> dict[str, Any]:
    """A fragment as backends send it: empty fields are left out."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v}
    fragment: dict[str, Any] = {"index": index, "id": id, "function": function}
    return {k: v for k, v in fragment.items() if v not in (None, "", {})}


def made(*fragments: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls these fragments add up to, one list a delta."""
    one = turn()
    for calls in fragments:
        one.observe(Delta(tool_calls=calls))
    calls = one.exchange("finished", 200, None).tool_calls
    return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls]


def test_text_of_choice_0_adds_up_and_other_choices_do_not_mix_in() -> None:
    one = turn()
    for delta in (
        Delta(text="Hel"),
        Delta(index=1, text="other", finish_reason="length"),
        Delta(text="lo"),
        Delta(finish_reason="stop"),
    ):
        one.observe(delta)
    record = one.exchange("finished", 200, None)
    assert (record.answer, record.finish_reason) == ("Hello", "stop")


def test_the_first_token_is_the_first_content() -> None:
    one = turn()
    one.observe(Delta(model="m-q4"))
    assert (one.content_seen, one.first_token_s) == (False, None)
    one.observe(Delta(reasoning="hm"))
    one.observe(Delta(text="a"))
    assert (one.content_seen, one.first_token_s) == (True, 1.0)
    assert one.response_model == "m-q4"


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        (Delta(), False),
        (Delta(model="m"), False),
        (Delta(usage=Usage(1, 1)), False),
        (Delta(text="a"), True),
        (Delta(reasoning="a"), True),
        (Delta(tool_calls=[{"index": 0}]), True),
        (Delta(finish_reason="stop"), True),
    ],
)
def test_content_is_what_a_client_would_notice(delta: Delta, content: bool) -> None:
    one = turn()
    one.observe(delta)
    assert one.content_seen is content


def test_a_tool_call_in_fragments_is_one_call() -> None:
    assert made(
        [call(0, "call_1", "look")], [call(0, arguments='{"a":')], [call(0, arguments="1}")]
    ) == [("call_1", "look", '{"a":1}')]


def test_interleaved_calls_are_told_apart_by_index_and_come_in_its_order() -> None:
    assert made(
        [call(1, "b", "second", "{")],
        [call(0, "a", "first", "[")],
        [call(1, arguments="}"), call(0, arguments="]")],
    ) == [("a", "first", "[]"), ("b", "second", "{}")]


def test_without_an_index_a_new_id_is_a_new_call_and_none_continues_the_last() -> None:
    assert made(
        [call(id="a", name="first", arguments="{")],
        [call(arguments="}")],
        [call(id="b", name="second", arguments="{}")],
    ) == [("a", "first", "{}"), ("b", "second", "{}")]


def test_without_an_index_the_same_id_again_is_the_same_call() -> None:
    assert made(
        [call(id="a", name="first", arguments="{")],
        [call(id="b", name="second", arguments="[")],
        [call(id="a", arguments="}")],
        [call(id="b", arguments="]")],
    ) == [("a", "first", "{}"), ("b", "second", "[]")]


def test_a_call_without_index_and_id_is_kept() -> None:
    assert made([call(name="look", arguments="{}")]) == [("", "look", "{}")]


@pytest.mark.parametrize(
    "fragment",
    [
        {},
        {"index": 0, "function": None},
        {"index": 0, "function": "look"},
        {"index": 0, "function": {"name": None, "arguments": None}},
        {"index": "0", "id": None, "function": {}},
    ],
)
def test_an_empty_or_odd_fragment_is_no_error(fragment: dict[str, Any]) -> None:
    assert made([fragment]) == [("", "", "")]


def test_arguments_that_are_an_object_are_kept_as_json() -> None:
    assert made([call(0, "a", "look", {"at": "it"})]) == [("a", "look", '{"at": "it"}')]


def test_usage_is_the_last_one_told_and_unknown_is_not_zero() -> None:
    one = turn()
    assert one.exchange("cancelled", 499, None).input_tokens is None
    one.observe(Delta(usage=Usage(7, None)))
    one.observe(Delta(text="x"))
    record = one.exchange("finished", 200, None)
    assert (record.input_tokens, record.output_tokens) == (7, None)
    one.observe(Delta(usage=Usage(0, 0)))
    record = one.exchange("finished", 200, None)
    assert (record.input_tokens, record.output_tokens) == (0, 0)


def test_a_whole_answer_is_taken_over() -> None:
    one = turn()
    tools = ({"id": "a", "function": {"name": "f", "arguments": "{}"}},)
    one.observe_answer(Answer("text", "tool_calls", Usage(3, 4), "m-q4", tools))
    record = one.exchange("finished", 200, None)
    assert (record.answer, record.finish_reason, record.response_model) == (
        "text",
        "tool_calls",
        "m-q4",
    )
    assert (record.input_tokens, record.output_tokens) == (3, 4)
    assert record.tool_calls == tools
    assert record.time_to_first_token_s == 1.0


def test_the_record_says_who_asked_what_and_who_answered() -> None:
    one = turn(conversation="talk", project="p")
    one.plan = Plan("m-q4", (Candidate("a", "up"), Candidate("b", "up")), "name m")
    one.attempts = Attempts(one.plan.candidates, RetryPolicy(0, 0.1))
    one.attempts.succeeded()
    record = one.exchange("finished", 200, None)
    assert (record.trace_id, record.correlation_id, record.conversation_id) == (
        "t" * 32,
        "thread",
        "talk",
    )
    assert (record.request_model, record.selected_model, record.backend) == ("m", "m-q4", "a")
    assert record.router_reason == "name m"
    assert [(a.backend, a.outcome) for a in record.attempts] == [("a", "ok")]
    assert record.messages == (MESSAGES[0].source,)
    assert (record.params, record.project, record.key_name) == ({"seed": 1}, "p", "ci")
    assert (record.occurred_at, record.duration_s, record.host) == (1_795_000_000.5, 1.0, "desk")


def test_without_a_conversation_the_correlation_id_is_it() -> None:
    assert turn().exchange("cancelled", 499, None).conversation_id == "thread"


def test_an_error_is_named_and_its_words_are_bounded() -> None:
    record = turn().exchange("failed", 504, BackendTimeout("x" * 9000, backend="a"))
    assert (record.status, record.http_status) == ("failed", 504)
    assert (record.error_type, len(record.error_message)) == ("BackendTimeout", 2000)
    assert record.backend == ""
