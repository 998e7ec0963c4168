import pytest

from appliance.domain.chat.returned import returned_results
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.events.exchange import Returned


def called(*calls: tuple[str, str, str]) -> Message:
    return Message("assistant", tuple(ToolCall(*call) for call in calls))


def result(call_id: str, *texts: str, is_error: bool = False, name: str = "") -> ToolResult:
    return ToolResult(call_id, tuple(map(Text, texts)), is_error, name)


def tool(call_id: str, *texts: str) -> Message:
    return Message("tool", (result(call_id, *texts),))


LOOK = ("c1", "look", '{"at":1}')
TOUCH = ("c2", "touch", "{}")
ASKED = plain("user", "which port?")


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (ASKED,),
        (plain("system", "be terse"), ASKED, plain("assistant", "8080"), ASKED),
        (ASKED, called(LOOK)),
    ],
    ids=["nothing", "a question", "a conversation", "a call alone"],
)
def test_a_request_without_results_has_none(messages: tuple[Message, ...]) -> None:
    assert returned_results(messages) == ()


def test_messages_of_tools_are_results_in_their_order_with_the_calls_they_answer() -> None:
    found = returned_results((ASKED, called(LOOK, TOUCH), tool("c2", "soft"), tool("c1", "80")))
    assert found == (
        Returned("c2", "touch", "{}", "soft"),
        Returned("c1", "look", '{"at":1}', "80"),
    )


def test_results_in_a_users_message_are_found_beside_its_text() -> None:
    parts: tuple[Part, ...] = (
        result("c1", "no such file", is_error=True),
        result("c2", "soft"),
        Text("and now?"),
    )
    first, second = returned_results((ASKED, called(LOOK, TOUCH), Message("user", parts)))
    assert first == Returned("c1", "look", '{"at":1}', "no such file", is_error=True)
    assert (second.name, second.is_error) == ("touch", False)


def test_results_before_the_last_answer_belong_to_an_exchange_before() -> None:
    before = (ASKED, called(LOOK), tool("c1", "80"))
    assert returned_results((*before, plain("assistant", "80"), plain("user", "sure?"))) == ()
    found = returned_results((*before, called(TOUCH), tool("c2", "soft")))
    assert [one.call_id for one in found] == ["c2"]


def test_a_question_after_the_results_does_not_hide_them() -> None:
    found = returned_results((called(LOOK), tool("c1", "80"), plain("user", "hurry"), ASKED))
    assert [one.content for one in found] == ["80"]


def test_an_answer_to_go_on_with_does_not_hide_them() -> None:
    found = returned_results((called(LOOK), tool("c1", "80"), plain("assistant", "The port is")))
    assert [(one.name, one.content) for one in found] == [("look", "80")]


@pytest.mark.parametrize("before", [(), (ASKED,), (ASKED, called(TOUCH))])
def test_a_result_of_a_call_nobody_made_has_its_own_name_and_no_arguments(
    before: tuple[Message, ...],
) -> None:
    named = Message("tool", (result("c9", "80", name="look"),))
    assert returned_results((*before, named)) == (Returned("c9", "look", "", "80"),)


def test_calls_that_share_an_id_are_answered_in_their_order() -> None:
    calls = called(("c", "look", "1"), ("c", "look", "2"))
    found = returned_results((calls, tool("c", "one"), tool("c", "two"), tool("c", "three")))
    assert [(one.arguments, one.content) for one in found] == [
        ("1", "one"),
        ("2", "two"),
        ("2", "three"),
    ]


def test_what_is_not_text_is_named_in_a_word() -> None:
    parts = (
        Text("a page"),
        Image("image/png", "aGk="),
        Image(url="https://example.test/cat"),
        Document("report.pdf", "application/pdf", data="aGk="),
        Document(),
        Unknown("audio"),
        Text("its end"),
    )
    (found,) = returned_results((called(LOOK), Message("tool", (ToolResult("c1", parts),))))
    assert found.content.split("\n") == [
        "a page",
        "[image/png]",
        "[image]",
        "[application/pdf report.pdf]",
        "[document]",
        "[audio]",
        "its end",
    ]
