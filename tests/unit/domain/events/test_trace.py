from typing import Any

import msgspec
import pytest

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.exchange import Embedding, Exchange, Retrieval
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import (
    CONSUMED,
    DEAD,
    MISSING,
    PLACES,
    POSTGRES,
    SPOOL,
    STREAM,
    TracedEvent,
    exchange_of,
    expected,
    facts,
    merged,
    nodes_of,
)
from tests.fakes.exchanges import exchange
from tests.fakes.flows import flow, moderated, reranked

EMBEDS = {
    "operation": "embeddings",
    "embedding": Embedding("request", "minilm", ("one",)),
    "retrieval": None,
    "attempts": (),
    "tool_calls": (),
    "tool_results": (),
}


def _traced(made: Exchange, place: str = STREAM) -> list[TracedEvent]:
    return [
        TracedEvent(
            event_id=event.event_id,
            subject=event.subject,
            place=place,
            trace_id=made.trace_id,
            correlation_id=made.correlation_id,
            facts=facts(event.subject, msgspec.to_builtins(event.body)),
        )
        for event in events_of(made)
    ]


def _event(**changes: Any) -> TracedEvent:
    return TracedEvent(
        **({"event_id": "t:s", "subject": "s", "place": STREAM, "trace_id": "t"} | changes)
    )


@pytest.mark.parametrize(
    "made",
    [
        flow(1),
        exchange(1),
        exchange(1, retrieval=None),
        exchange(1, retrieval=None, attempts=(), status="failed", error_type="NotFound"),
        exchange(1, retrieval=Retrieval("w", degraded="inference")),
        flow(1, tool_calls=(), retrieval=None),
        flow(1, tool_results=(), status="cancelled"),
        flow(1, **EMBEDS),
        flow(1, **EMBEDS, status="failed", error_type="BackendTimeout"),
        moderated(flow(1)),
        moderated(flow(1), status="failed", error_type="PartUnavailable"),
        reranked(flow(1)),
        reranked(flow(1), status="failed", error_type="PartUnavailable"),
        reranked(flow(1), status="cancelled"),
        flow(1, rerank=reranked(flow(1)).rerank),
    ],
)
def test_the_lineage_tells_which_events_an_exchange_became(made: Exchange) -> None:
    traced = exchange_of(_traced(made))
    told = expected(made.trace_id, traced.nodes)
    assert told == {event.event_id: event.subject for event in events_of(made)}
    assert traced.complete


def test_events_nobody_found_are_missing_in_their_place() -> None:
    found = [event for event in _traced(flow(1)) if event.subject != COMPOSE]
    traced = exchange_of(list(reversed(found)))
    assert not traced.complete
    [gone] = [event for event in traced.events if event.place == MISSING]
    assert gone.subject == COMPOSE
    assert [e.subject for e in traced.events] == [e.subject for e in events_of(flow(1))]
    assert traced.places == {STREAM: 7, MISSING: 1}


def test_without_the_lineage_nothing_is_missing_and_nothing_complete() -> None:
    found = [event for event in _traced(flow(1)) if event.subject != LINEAGE]
    traced = exchange_of(found)
    assert len(traced.events) == len(found)
    assert not traced.complete


def test_an_event_is_where_it_has_come_furthest_and_says_what_either_says() -> None:
    row = _event(place=POSTGRES, rows={"chat_history": 3}, sequence=7)
    dead = _event(place=DEAD, rows={"dead_letters": 1}, sequence=8, facts={"status": "finished"})
    for one in (merged(row, dead), merged(dead, row)):
        assert (one.place, one.sequence, one.facts) == (POSTGRES, 7, {"status": "finished"})
        assert list(one.rows.items()) == [("chat_history", 3), ("dead_letters", 1)]
    assert PLACES.index(CONSUMED) < PLACES.index(STREAM) < PLACES.index(SPOOL)


def test_facts_have_the_names_of_columns_and_no_envelope() -> None:
    [body] = [e.body for e in events_of(flow(1)) if e.subject == PERSIST]
    told = facts(PERSIST, msgspec.to_builtins(body))
    assert not [key for key in told if "." in key]
    assert not {"event_id", "trace_id", "correlation_id", "occurred_at"} & told.keys()
    assert (told["request_model"], told["response_model"]) == ("qwen3-8b", "qwen3-8b-q4")
    assert (told["finish_reason"], told["output_tokens"]) == ("tool_calls", 3)


@pytest.mark.parametrize("listed", [None, 7, "nodes", {"id": "a"}, [7, None, "a", {}, {"id": ""}]])
def test_what_is_no_list_of_nodes_has_none(listed: Any) -> None:
    assert nodes_of(listed) == []


def test_no_cycle_no_stranger_and_no_node_twice() -> None:
    listed = [
        {"id": "a", "parents": ["b", "a", "nobody", 7]},
        {"id": "b", "parents": ["a", "a"], "began_s": float("inf"), "duration_s": "long"},
        {"id": "a", "parents": ["b"], "name": "again"},
        {"id": "c", "parents": "b"},
    ]
    nodes = nodes_of(listed)
    assert [(n.id, n.parents) for n in nodes] == [("a", ()), ("b", ("a",)), ("c", ())]
    assert [(n.began_s, n.duration_s) for n in nodes] == [(None, None)] * 3
