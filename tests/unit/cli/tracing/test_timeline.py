from typing import Any

import msgspec
import pytest

from appliance.cli.terminal import columns
from appliance.cli.tracing.timeline import timeline
from appliance.domain.events.chat import PERSIST, TELEMETRY
from appliance.domain.events.exchange import Exchange, Hit, Retrieval
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import POSTGRES, STREAM, Traced, exchange_of
from appliance.infra.postgres.history import event_from
from tests.fakes.exchanges import exchange
from tests.fakes.flows import flow, moderated

GOLDEN = """\
trace 00000000000000000000000000000003
  correlation c-3
  conversation conversation-3
  in the stream, not yet consumed
      +0.000 s  request     2026-11-18T11:06:43.250000Z  openai_chat, once, model qwen3-8b, 2
                            messages, HTTP 200
                prompt      question 3
                route       direct: qwen3-8b-q4 on local (exact)
      +0.002 s  retrieval   garage: 2 hits in 0.020 s, at least 0.250, at most 6
                query       how do I bleed the brakes?
                            manual.md #2  0.750  120 tokens
                            notes.md #0  0.625  80 tokens
                cut         manual.md #7  0.500  400 tokens: room
                cut         other.md #1  0.125  90 tokens: score below 0.250
                compose     200 of 300 tokens for knowledge, messages 2 to 4
                tool result look({"part":"pad"}) = worn
      +0.025 s  backend     desktop qwen3-8b: BackendTimeout in 0.050 s
      +0.080 s  backend     local qwen3-8b-q4: ok in 0.400 s
      +0.100 s  first token
                reasoning   22 characters
                tool call   order({"part":"pad","count":2})
                tool call   remind({})
      +0.500 s  end         finished, tool_calls, tokens in 12, out 3
                answer      answer 3
"""


def _traced(made: Exchange, *, only: str = "") -> Traced:
    return exchange_of(
        [
            event_from(msgspec.json.decode(msgspec.json.encode(e.body)), e.subject, STREAM)
            for e in events_of(made)
            if e.subject == only or not only
        ]
    )


def _told(made: Exchange, *, only: str = "") -> str:
    return "\n".join(timeline(_traced(made, only=only)))


def test_an_exchange_with_everything_is_told_in_the_order_it_happened() -> None:
    told = _told(flow(3, size=0))
    story, _, rest = told.partition("events\n")
    assert story == GOLDEN
    assert "\nlineage\n  request  openai_chat" in rest


def test_no_line_is_wider_than_a_terminal_whatever_was_written() -> None:
    long = "漢字 \x1b[31m" * 2000
    hostile: dict[str, Any] = {
        "correlation_id": "c" * 128,
        "conversation_id": "k" * 300,
        "request_model": long,
        "backend": long,
        "router_reason": long,
        "error_type": "E",
        "error_message": long,
        "answer": long,
        "messages": ({"role": "user", "content": long},),
        "retrieval": Retrieval(long, (Hit(long, 1, 0.5),), query=long),
        "tool_calls": ({"id": long, "function": {"name": long, "arguments": long}},),
    }
    lines = list(timeline(_traced(flow(1, **hostile))))
    assert max(map(columns, lines)) <= 100
    assert all(line.isprintable() for line in lines)
    assert "".join(line.strip() for line in lines).count("c" * 128) == 1


@pytest.mark.parametrize(("count", "hit"), [(1, "garage: 1 hit in"), (2, "garage: 2 hits in")])
def test_one_message_and_one_hit_are_no_plurals(count: int, hit: str) -> None:
    made = exchange(
        1,
        messages=({"role": "user", "content": "hello"},) * count,
        retrieval=Retrieval("garage", (Hit("a.md", 0, 0.5),) * count),
    )
    told = " ".join(_told(made).split())
    assert hit in told
    assert ("1 message," if count == 1 else "2 messages,") in told


def test_of_measures_alone_it_is_told_what_they_measure() -> None:
    told = _told(flow(1), only=TELEMETRY)
    assert "route       direct: qwen3-8b-q4 on local" in told
    assert "end         finished, tool_calls, tokens in 12, out 3" in told
    assert "prompt" not in told
    assert "lineage" not in told


def test_where_nobody_reported_a_number_none_is_made_up() -> None:
    told = _told(flow(1, input_tokens=None, time_to_first_token_s=None))
    assert "tokens in not reported, out 3" in told
    assert "first token" not in told


def test_a_failed_exchange_says_why() -> None:
    made = exchange(
        1, status="failed", http_status=502, error_type="BackendTimeout", error_message="too slow"
    )
    assert "failed, stop, BackendTimeout: too slow" in _told(made)


def test_a_moderation_is_told_by_its_lineage() -> None:
    made = moderated(exchange(1), request_model="omni-moderation-latest")
    told = _told(made)
    assert "moderation, model omni-moderation-latest\n" in told
    assert "moderation  by lexicon-en-1\n" in told
    assert "+0.004 s  end         finished\n" in told
    assert "model lexicon-en-1\n" in _told(made, only=LINEAGE)


def test_a_degraded_retrieval_says_what_was_away() -> None:
    told = _told(exchange(1, retrieval=Retrieval("garage", degraded="inference")))
    assert "garage: 0 hits in 0.000 s, degraded: inference" in told


def test_an_older_row_that_tells_less_is_told_as_far_as_it_goes() -> None:
    body = {
        "event_id": "t:s",
        "trace_id": "t",
        "correlation_id": "c",
        "conversation_id": "k",
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "status": "finished",
        "attempts": [{"backend": "local", "model": "m", "outcome": "ok"}],
        "retrieval": {"workspace": "garage", "hits": [{"document": "a.md", "chunk": 0}]},
    }
    told = "\n".join(timeline(exchange_of([event_from(body, PERSIST, POSTGRES)])))
    assert "backend     local m: ok\n" in told
    assert "garage: 1 hit\n" in told
    assert "a.md #0  0.000" in told
