from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from appliance.domain.events.durables import DURABLES
from appliance.domain.events.envelope import rfc3339
from appliance.domain.events.exchange import (
    Cut,
    Embedding,
    Exchange,
    Feedback,
    Hit,
    Retrieval,
    Returned,
)
from appliance.domain.events.topics import KEPT, TOPICS, events_of
from tests.fakes.exchanges import exchange
from tests.fakes.flows import moderated, reranked

ENVELOPE = (
    "event_id",
    "trace_id",
    "correlation_id",
    "conversation_id",
    "occurred_at",
    "schema",
    "host",
)
CALL = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
LOOKED_UP = Retrieval(
    "default",
    (Hit("notes.md", 2, 0.75, 40),),
    duration_s=0.02,
    began_s=0.001,
    query="how?",
    cut=(Cut("old.md", 0, 0.9, 4000, "room"), Cut("far.md", 1, 0.1, 30, "score")),
    min_score=0.2,
    limit=5,
    room_tokens=900,
    context_window=4096,
    embedding=Embedding("query", "all-minilm-l6-v2", ("how?",), 256, 3, 0.001, 0.005),
)


def whole(number: int = 1, **changes: Any) -> Exchange:
    """An exchange with knowledge, a tool's result, a call and feedback: every subject has
    something."""
    full: dict[str, Any] = {
        "retrieval": LOOKED_UP,
        "tool_calls": (CALL,),
        "tool_results": (Returned("call-0", "look", "{}", "it rains"),),
        "message_count": 4,
        "feedback": Feedback("f" * 32, -2, "too long"),
    }
    return exchange(number, **(full | changes))


def rates(given: Feedback, **changes: Any) -> Exchange:
    """An exchange that brought feedback, as the service makes it."""
    plain: dict[str, Any] = {
        "operation": "feedback",
        "http_status": 202,
        "messages": (),
        "answer": "",
        "attempts": (),
        "retrieval": None,
        "feedback": given,
    }
    return exchange(1, **(plain | changes))


def bodies(of: Exchange) -> Mapping[str, dict[str, Any]]:
    """The last body of each subject, as a reader finds it."""
    return {e.subject: msgspec.json.decode(msgspec.json.encode(e.body)) for e in events_of(of)}


def test_an_exchange_with_everything_has_an_event_of_every_subject() -> None:
    assert list(bodies(whole())) == list(TOPICS)
    assert [s for s in TOPICS if s.startswith(KEPT)] == list(DURABLES)


def test_the_subjects_are_those_that_other_tools_rely_on() -> None:
    assert set(TOPICS) == {
        "pipeline.knowledge.chat.persist",
        "pipeline.knowledge.embedding",
        "pipeline.knowledge.retrieve",
        "pipeline.knowledge.compose",
        "pipeline.knowledge.flow.lineage",
        "pipeline.knowledge.tool_call",
        "pipeline.knowledge.feedback",
        "telemetry.knowledge.chat",
        "telemetry.knowledge.embedding",
        "telemetry.knowledge.retrieve",
        "telemetry.knowledge.tool_call",
        "telemetry.knowledge.route",
    }


def test_a_plain_chat_has_events_of_what_happened_alone() -> None:
    assert list(bodies(exchange(1, retrieval=None))) == [
        "pipeline.knowledge.chat.persist",
        "pipeline.knowledge.flow.lineage",
        "telemetry.knowledge.chat",
        "telemetry.knowledge.route",
    ]


def test_an_embedding_has_no_chat_event() -> None:
    made = Embedding("request", "all-minilm-l6-v2", ("a", "b"), 256, 6)
    one = exchange(1, operation="embeddings", retrieval=None, attempts=(), embedding=made)
    assert list(bodies(one)) == [
        "pipeline.knowledge.embedding",
        "pipeline.knowledge.flow.lineage",
        "telemetry.knowledge.embedding",
        "telemetry.knowledge.route",
    ]


def test_a_moderation_has_its_lineage_and_its_route_alone() -> None:
    told = bodies(moderated(exchange(1)))
    assert list(told) == ["pipeline.knowledge.flow.lineage", "telemetry.knowledge.route"]
    route = told["telemetry.knowledge.route"]
    assert (route["gen_ai.operation.name"], route["backend"]) == ("moderation", "lexicon-en-1")


def test_feedback_has_its_own_event_and_no_other() -> None:
    given = Feedback("f" * 32, -2, "too long")
    one = rates(given, key_name="laptop", project="p")
    assert bodies(one) == {
        "pipeline.knowledge.feedback": {
            "event_id": f"{one.trace_id}:pipeline.knowledge.feedback",
            "trace_id": one.trace_id,
            "correlation_id": "c-1",
            "conversation_id": "conversation-1",
            "occurred_at": rfc3339(one.occurred_at),
            "schema": "knowledge.feedback/1",
            "host": "desk",
            "rated_trace_id": "f" * 32,
            "rating": -2,
            "comment": "too long",
            "project": "p",
            "key_name": "laptop",
        }
    }
    assert list(events_of(replace(one, store="none"))) == []


def test_a_record_of_a_gateway_that_knew_no_feedback_has_none() -> None:
    record = msgspec.to_builtins(exchange(1))
    del record["feedback"]
    assert msgspec.convert(record, Exchange) == exchange(1)


@pytest.mark.parametrize("made", [exchange(1), whole()], ids=["plain", "whole"])
def test_every_event_begins_with_the_envelope(made: Exchange) -> None:
    for event in events_of(made):
        assert tuple(event.body)[:7] == ENVELOPE
        assert event.body["event_id"] == event.event_id
        assert event.body["trace_id"] == made.trace_id


def test_the_same_exchange_has_the_same_event_ids_and_no_two_events_share_one() -> None:
    first, again = ([event.event_id for event in events_of(whole(n))] for n in (3, 3))
    other = [event.event_id for event in events_of(whole(4))]
    assert first == again
    assert len(set(first + other)) == 2 * len(first)


def test_persist_carries_everything_under_opentelemetrys_names() -> None:
    kept = whole(5, reasoning="hm", cache_read_tokens=7, reasoning_tokens=2, dropped=("seed",))
    body = bodies(kept)["pipeline.knowledge.chat.persist"]
    assert body["gen_ai.request.model"] == "qwen3-8b"
    assert body["gen_ai.usage.input_tokens"] == 12
    assert body["gen_ai.usage.cache_read.input_tokens"] == 7
    assert body["gen_ai.usage.reasoning.output_tokens"] == 2
    assert body["gen_ai.response.finish_reasons"] == ["stop"]
    assert body["messages"] == list(kept.messages)
    assert (body["answer"], body["reasoning"], body["dropped"]) == ("answer 5", "hm", ["seed"])
    assert body["tool_calls"] == [CALL]
    assert [(a["backend"], a["outcome"]) for a in body["attempts"]] == [("local", "ok")]
    assert [h["document"] for h in body["retrieval"]["hits"]] == ["notes.md"]


def test_retrieve_has_the_query_the_thresholds_and_all_that_was_found_best_first() -> None:
    body = bodies(whole())["pipeline.knowledge.retrieve"]
    assert (body["query"], body["min_score"], body["limit"]) == ("how?", 0.2, 5)
    assert [(h["document"], h["cut"]) for h in body["hits"]] == [
        ("old.md", "room"),
        ("notes.md", ""),
        ("far.md", "score"),
    ]
    assert (body["found_count"], body["hit_count"], body["best_score"]) == (3, 1, 0.9)


def test_compose_tells_what_was_injected_and_what_was_cut_and_why() -> None:
    body = bodies(whole())["pipeline.knowledge.compose"]
    assert [hit["document"] for hit in body["injected"]] == ["notes.md"]
    assert [(cut["document"], cut["reason"]) for cut in body["cut"]] == [
        ("old.md", "room"),
        ("far.md", "score"),
    ]
    assert (body["used_tokens"], body["room_tokens"], body["context_window"]) == (40, 900, 4096)
    assert (body["messages_before"], body["messages_after"]) == (2, 4)


def test_the_embedding_of_a_query_is_the_inference_roles() -> None:
    body = bodies(whole())["pipeline.knowledge.embedding"]
    assert (body["purpose"], body["texts"], body["backend"]) == ("query", ["how?"], "inference")
    assert (body["gen_ai.response.model"], body["dimensions"]) == ("all-minilm-l6-v2", 256)


def test_results_and_calls_of_tools_are_events_of_their_own_in_order() -> None:
    made = [e.body for e in events_of(whole()) if e.subject == "pipeline.knowledge.tool_call"]
    assert [(b["kind"], b["gen_ai.tool.call.id"], b["gen_ai.tool.name"]) for b in made] == [
        ("result", "call-0", "look"),
        ("call", "call-1", "add"),
    ]
    assert made[0]["gen_ai.tool.call.result"] == "it rains"
    assert made[1]["gen_ai.tool.call.arguments"] == '{"a":1}'
    assert made[0]["event_id"] != made[1]["event_id"]


def test_telemetry_carries_nothing_anybody_wrote() -> None:
    said = Embedding("query", "all-minilm-l6-v2", ("SECRET",), 256, 3)
    secret = exchange(
        6,
        messages=({"role": "user", "content": "SECRET"},),
        answer="SECRET",
        reasoning="SECRET",
        tool_calls=({"id": "1", "function": {"name": "f", "arguments": "SECRET"}},),
        tool_results=(Returned("0", "f", "SECRET", "SECRET"),),
        params={"stop": "SECRET"},
        error_message="SECRET",
        retrieval=Retrieval("w", (Hit("SECRET", 0, 0.5),), query="SECRET", embedding=said),
    )
    told = {s: b for s, b in bodies(secret).items() if s.startswith("telemetry.")}
    assert len(told) == 5
    assert b"SECRET" not in msgspec.json.encode(told)
    chat = told["telemetry.knowledge.chat"]
    assert (chat["message_count"], chat["tool_call_count"]) == (1, 1)


def test_times_are_rfc_3339_to_the_microsecond() -> None:
    assert rfc3339(1_795_271_221.123456) == "2026-11-21T14:27:01.123456Z"
    assert datetime.fromisoformat(rfc3339(0.9999999)).timestamp() == 1.0


def test_a_rerank_is_an_event_of_the_retrieval_subject_with_every_score() -> None:
    bodies = {event.subject: event.body for event in events_of(reranked(whole(), feedback=None))}
    assert set(bodies) == {
        "pipeline.knowledge.retrieve",
        "pipeline.knowledge.flow.lineage",
        "telemetry.knowledge.retrieve",
        "telemetry.knowledge.route",
    }
    told = bodies["pipeline.knowledge.retrieve"]
    assert (told["kind"], told["query"]) == ("rerank", "how do I bleed the brakes?")
    assert [scored.index for scored in told["scores"]] == [2, 0, 1]
    assert (told["document_count"], told["top_n"], told["best_score"]) == (3, 2, 0.75)
    measured = bodies["telemetry.knowledge.retrieve"]
    assert not {"query", "scores", "key_name"} & set(measured)


def test_a_rerank_that_failed_is_measured_and_has_no_row() -> None:
    made = reranked(whole(), feedback=None, status="failed", error_type="PartUnavailable")
    bodies = {event.subject: event.body for event in events_of(made)}
    assert "pipeline.knowledge.retrieve" not in bodies
    told = bodies["telemetry.knowledge.retrieve"]
    assert (told["status"], told["error.type"]) == ("failed", "PartUnavailable")
    assert told["best_score"] is None
