from typing import Any

import msgspec
import pytest

from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.infra.postgres.payload import storable
from appliance.infra.postgres.rows import ChatEvent, ChatRows, decode, text_of
from tests.fakes.exchanges import exchange


def _decoded(kept: Exchange) -> ChatEvent:
    data = msgspec.json.encode(next(events_of(kept)).body)
    return decode(storable(data))


def _rows(*kept: Exchange) -> ChatRows:
    rows = ChatRows()
    for sequence, each in enumerate(kept, 1):
        rows.add(_decoded(each), sequence)
    return rows


def test_everything_an_exchange_says_survives_the_way_through_the_event() -> None:
    event = _decoded(exchange(1))
    for name in (
        *("trace_id", "correlation_id", "conversation_id", "status", "http_status", "host"),
        *("request_model", "selected_model", "response_model", "backend", "provider", "route"),
        *("router_reason", "params", "answer", "finish_reason", "input_tokens", "output_tokens"),
        *("duration_s", "time_to_first_token_s", "surface", "stream", "project", "key_name"),
        *("error_type", "error_message"),
    ):
        assert getattr(event, name) == getattr(exchange(1), name), name
    assert event.messages == list(exchange(1).messages)


def test_one_history_row_a_message_and_the_answer_last() -> None:
    rows = _rows(exchange(1))
    assert [(row[1], row[2]) for row in rows.history] == [
        (0, "system"),
        (1, "user"),
        (2, "assistant"),
    ]
    assert [row[9] is None for row in rows.history] == [True, True, False]


def test_content_resent_by_an_agent_is_there_once() -> None:
    rows = _rows(exchange(1), exchange(2), exchange(2, trace_id="f" * 32))
    assert len(rows.history) == 9
    assert len(rows.contents) == 5


def test_the_same_text_in_another_shape_is_another_content() -> None:
    parts = ({"role": "user", "content": [{"type": "text", "text": "hello"}]},)
    plain = ({"role": "user", "content": "hello"},)
    rows = _rows(exchange(1, messages=parts), exchange(2, messages=plain))
    said = [(text, message is None) for _, text, message in rows.contents.values()]
    assert said.count(("hello", True)) == 1
    assert said.count(("hello", False)) == 1


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, 1),
        ({"answer": "", "tool_calls": ({"id": "a"},), "finish_reason": "tool_calls"}, 1),
        ({"status": "cancelled"}, 0),
        ({"status": "failed", "http_status": 502}, 0),
        ({"status": "failed"}, 0),
    ],
)
def test_a_pair_is_an_exchange_that_got_a_200_and_finished(
    changes: dict[str, Any], pairs: int
) -> None:
    assert len(_rows(exchange(1, **changes)).pairs) == pairs


def test_the_prompt_is_the_last_user_turn() -> None:
    messages = (
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {"role": "tool", "content": "result"},
    )
    assert _rows(exchange(1, messages=messages)).pairs[0][3] == "a"


def test_what_tools_said_is_text_of_the_tool_and_not_the_prompt_on_any_wire() -> None:
    blocks = [{"type": "tool_result", "tool_use_id": "a", "content": "12 degrees"}]
    parts = [
        {"type": "tool_result", "content": [{"type": "text", "text": "rain"}, {"type": "image"}]}
    ]
    messages = (
        {"role": "user", "content": [{"type": "text", "text": "The weather?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "input": {}}]},
        {"role": "user", "content": blocks},
        {"role": "user", "content": [*parts, {"type": "text", "text": "a reminder"}]},
    )
    rows = _rows(exchange(1, messages=messages))
    assert rows.pairs[0][3] == "The weather?"
    assert [row[2] for row in rows.history] == ["user", "assistant", "tool", "tool", "assistant"]
    texts = [text for _, text, _ in rows.contents.values()]
    assert texts[:4] == ["The weather?", "", "12 degrees", "rain\na reminder"]


def test_text_documents_and_search_results_are_text_and_files_are_not() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "from a file"}
    content = [
        {"type": "document", "source": plain},
        {"type": "document", "source": {"type": "base64", "data": "JVBERi0="}},
        {"type": "search_result", "source": "x", "content": [{"type": "text", "text": "found"}]},
        {"type": "image", "source": {"type": "base64", "data": "aGk="}},
    ]
    assert text_of(content) == "from a file\nfound"


def test_a_nul_becomes_a_replacement_character_and_an_escaped_one_stays() -> None:
    event = _decoded(exchange(1, answer="a\0b \\u0000"))
    assert event.answer == "a\ufffdb \\u0000"


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b'{"trace_id":1}', b"[" * 100_000])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        decode(storable(data))
