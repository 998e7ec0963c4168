from collections.abc import Callable

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.attempts import Attempts, RetryPolicy
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Reasoning, Text, ToolCall, ToolResult
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.conversation.stream import Answer, Choice, Delta, ToolCallDelta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import BackendTimeout
from appliance.domain.events.exchange import Attempt, Returned
from appliance.domain.identity import Identity
from appliance.domain.routing.candidate import Candidate, Plan

MESSAGES = (Message("user", (Text("hi"),), {"role": "user", "content": "hi", "name": "ann"}),)


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


def made(*steps: ToolCallDelta) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls these steps add up to, one a delta."""
    one = turn()
    for step in steps:
        one.observe(Delta(tool_calls=(step,)))
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
        (Delta(tool_calls=[ToolCallDelta(0, "a", "f")]), True),
        (Delta(signature="sealed"), True),
        (Delta(finish_reason="stop"), True),
    ],
)
def test_content_is_what_a_client_would_notice(delta: Delta, content: bool) -> None:
    one = turn()
    one.observe(delta)
    assert one.content_seen is content


def test_a_tool_call_in_steps_is_one_call() -> None:
    assert made(
        ToolCallDelta(0, "call_1", "look"),
        ToolCallDelta(0, arguments='{"a":'),
        ToolCallDelta(0, arguments="1}"),
    ) == [("call_1", "look", '{"a":1}')]


def test_interleaved_calls_are_told_apart_by_index_and_come_in_its_order() -> None:
    assert made(
        ToolCallDelta(1, "b", "second", "{"),
        ToolCallDelta(0, "a", "first", "["),
        ToolCallDelta(1, arguments="}"),
        ToolCallDelta(0, arguments="]"),
    ) == [("a", "first", "[]"), ("b", "second", "{}")]


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
    parts = (Reasoning("hm"), Text("text"), ToolCall("a", "f", "{}"))
    one.observe_answer(Answer((Choice(0, parts, "tool_calls"),), Usage(3, 4), "m-q4"))
    record = one.exchange("finished", 200, None)
    assert (record.answer, record.finish_reason, record.response_model) == (
        "text",
        "tool_calls",
        "m-q4",
    )
    assert (record.input_tokens, record.output_tokens) == (3, 4)
    function = {"name": "f", "arguments": "{}"}
    assert record.tool_calls == ({"id": "a", "type": "function", "function": function},)
    assert record.time_to_first_token_s == 1.0


def test_the_record_says_who_asked_what_and_who_answered() -> None:
    one = turn(conversation="talk", project="p")
    one.plan = Plan("m-q4", (Candidate("a", "up"), Candidate("b", "up")), "name m")
    one.attempts = Attempts(one.plan.candidates, RetryPolicy(0, 0.1), one.elapsed)
    one.attempts.begin()
    one.attempts.succeeded()
    one.message_count, one.dropped = 3, ("top_k",)
    record = one.exchange("finished", 200, None)
    assert (record.trace_id, record.correlation_id, record.conversation_id) == (
        "t" * 32,
        "thread",
        "talk",
    )
    assert (record.request_model, record.selected_model, record.backend) == ("m", "m-q4", "a")
    assert record.router_reason == "name m"
    assert record.attempts == (Attempt("a", "up", "ok", 1.0, 1.0),)
    assert (record.candidates, record.message_count) == (("a", "b"), 3)
    assert record.dropped == ("top_k",)
    assert record.messages == (MESSAGES[0].source,)
    assert (record.params, record.project, record.key_name) == ({"seed": 1}, "p", "ci")
    assert (record.occurred_at, record.duration_s, record.host) == (1_795_000_000.5, 3.0, "desk")


def test_without_a_conversation_the_correlation_id_is_it() -> None:
    assert turn().exchange("cancelled", 499, None).conversation_id == "thread"


def test_an_error_is_named_and_its_words_are_bounded() -> None:
    record = turn().exchange("failed", 504, BackendTimeout("x" * 9000, backend="a"))
    assert (record.status, record.http_status) == ("failed", 504)
    assert (record.error_type, len(record.error_message)) == ("BackendTimeout", 2000)
    assert record.backend == ""


def test_what_was_thought_adds_up_apart_from_what_was_said() -> None:
    one = turn()
    for delta in (
        Delta(reasoning="let me "),
        Delta(index=1, reasoning="other"),
        Delta(reasoning="see"),
        Delta(text="8080"),
        Delta(redacted="encrypted", signature="sealed"),
    ):
        one.observe(delta)
    record = one.exchange("cancelled", 499, None)
    assert (record.reasoning, record.answer) == ("let me see", "8080")


def test_the_reasoning_of_a_whole_answer_is_taken_over() -> None:
    one = turn()
    parts = (Reasoning("let me "), Text("8080"), Reasoning("see"), Reasoning(redacted="sealed"))
    one.observe_answer(Answer((Choice(0, parts, "stop"), Choice(1, (Reasoning("other"),)))))
    record = one.exchange("finished", 200, None)
    assert (record.reasoning, record.answer) == ("let me see", "8080")


@pytest.mark.parametrize("whole", [True, False], ids=["once", "stream"])
def test_every_count_of_tokens_is_recorded(whole: bool) -> None:
    one, usage = turn(), Usage(70, 20, {}, 40, 20, 15)
    if whole:
        one.observe_answer(Answer((Choice(),), usage))
    else:
        one.observe(Delta(usage=usage))
    record = one.exchange("finished", 200, None)
    assert (record.input_tokens, record.output_tokens) == (70, 20)
    assert (record.cache_read_tokens, record.cache_write_tokens) == (40, 20)
    assert record.reasoning_tokens == 15


def test_counts_nobody_told_are_none() -> None:
    record = turn().exchange("failed", 502, None)
    assert record.cache_read_tokens is record.cache_write_tokens is record.reasoning_tokens is None


def test_before_a_plan_the_record_has_what_the_client_said() -> None:
    one = turn()
    one.request.dropped = ("nonsense",)
    record = one.exchange("failed", 404, None)
    assert (record.candidates, record.message_count, record.attempts) == ((), 0, ())
    assert record.dropped == ("nonsense",)


def test_the_results_the_request_brings_are_recorded() -> None:
    one = turn()
    one.request.messages = (
        Message("assistant", (ToolCall("c1", "look", '{"at":1}'),)),
        Message("tool", (ToolResult("c1", (Text("8080"),)),)),
    )
    record = one.exchange("cancelled", 499, None)
    assert record.tool_results == (Returned("c1", "look", '{"at":1}', "8080"),)
