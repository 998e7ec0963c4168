from datetime import datetime

import msgspec

from appliance.domain.events.envelope import rfc3339
from appliance.domain.events.topics import TOPICS, events_of
from tests.fakes.exchanges import exchange

ENVELOPE = (
    "event_id",
    "trace_id",
    "correlation_id",
    "conversation_id",
    "occurred_at",
    "schema",
    "host",
)


def test_a_chat_exchange_becomes_one_event_per_topic() -> None:
    events = list(events_of(exchange(1)))
    assert [event.subject for event in events] == list(TOPICS)
    assert list(TOPICS) == ["pipeline.knowledge.chat.persist", "telemetry.knowledge.chat"]


def test_every_event_begins_with_the_envelope() -> None:
    for event in events_of(exchange(1)):
        assert tuple(event.body)[:7] == ENVELOPE
        assert event.body["event_id"] == event.event_id
        assert event.body["trace_id"] == exchange(1).trace_id


def test_the_same_exchange_has_the_same_event_ids_and_no_two_events_share_one() -> None:
    first, again = ([event.event_id for event in events_of(exchange(number))] for number in (3, 3))
    other = [event.event_id for event in events_of(exchange(4))]
    assert first == again
    assert len(set(first + other)) == 4


def test_persist_carries_everything_under_opentelemetrys_names() -> None:
    kept = exchange(5)
    body = msgspec.json.decode(msgspec.json.encode(next(events_of(kept)).body))
    assert body["gen_ai.request.model"] == "qwen3-8b"
    assert body["gen_ai.usage.input_tokens"] == 12
    assert body["gen_ai.response.finish_reasons"] == ["stop"]
    assert body["messages"] == list(kept.messages)
    assert body["answer"] == "answer 5"
    assert body["attempts"] == [{"backend": "local", "model": "qwen3-8b-q4", "outcome": "ok"}]
    assert body["retrieval"]["hits"] == [{"document": "notes.md", "chunk": 2, "score": 0.75}]


def test_telemetry_carries_nothing_anybody_wrote() -> None:
    secret = exchange(
        6,
        messages=({"role": "user", "content": "SECRET"},),
        answer="SECRET",
        tool_calls=({"function": {"arguments": "SECRET"}},),
        params={"stop": "SECRET"},
        error_message="SECRET",
    )
    telemetry = list(events_of(secret))[1].body
    assert b"SECRET" not in msgspec.json.encode(telemetry)
    assert (telemetry["message_count"], telemetry["tool_call_count"]) == (1, 1)


def test_another_operation_has_no_chat_events() -> None:
    assert list(events_of(exchange(1, operation="embeddings"))) == []


def test_times_are_rfc_3339_to_the_microsecond() -> None:
    assert rfc3339(1_795_271_221.123456) == "2026-11-21T14:27:01.123456Z"
    assert datetime.fromisoformat(rfc3339(0.9999999)).timestamp() == 1.0
