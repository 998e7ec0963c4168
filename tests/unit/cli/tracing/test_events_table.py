from typing import Any

import pytest

from appliance.cli.terminal import columns
from appliance.cli.tracing.events_table import remark, state, table
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.trace import (
    CONSUMED,
    DEAD,
    MEASURES,
    PLACES,
    POSTGRES,
    STREAM,
    TracedEvent,
)


def _event(place: str, subject: str = LINEAGE, **changes: Any) -> TracedEvent:
    shared = {"event_id": f"t:{subject}", "subject": subject, "place": place, "trace_id": "t"}
    return TracedEvent(**(shared | {"consumer": "flow_lineage"} | changes))


def test_an_event_is_a_line_and_one_more_for_each_further_table() -> None:
    rows = {"chat_history": 3, "chat_pairs": 1}
    written = _event(POSTGRES, sequence=7, acked=True, rows=rows)
    waits = _event(STREAM, sequence=8, acked=False)
    measured = _event(MEASURES, "telemetry.knowledge.chat", consumer="", sequence=2)
    assert list(table([written, waits, measured])) == [
        "subject                          sequence  consumer      state         rows",
        "pipeline.knowledge.flow.lineage  7         flow_lineage  acked         chat_history 3",
        " " * 71 + "chat_pairs 1",
        "pipeline.knowledge.flow.lineage  8         flow_lineage  not consumed",
        "telemetry.knowledge.chat         2         nobody: measures alone  kept",
    ]


@pytest.mark.parametrize(
    ("acked", "said"), [(True, "acked"), (False, "not acked yet"), (None, "written")]
)
def test_of_a_row_it_is_said_whether_its_consumer_acked_it(acked: bool | None, said: str) -> None:
    assert state(_event(POSTGRES, acked=acked)) == said


def test_the_widest_table_of_all_is_a_terminal_wide() -> None:
    events = [
        _event(place, sequence=1_795_000_000_123_456, acked=False, rows={"embedding_events": 1})
        for place in PLACES
    ]
    measured = _event(MEASURES, "telemetry.knowledge.tool_call", consumer="", sequence=10**9)
    assert max(columns(line) for line in table([*events, measured])) <= 98


def test_why_an_event_went_no_further_is_said_below() -> None:
    dead = _event(DEAD, EMBEDDING, reason="bad\x1b " * 40)
    lines = list(table([dead]))
    assert " ".join(lines[2:]).startswith(f"{EMBEDDING}: in dead_letters: bad\ufffd bad")
    assert max(map(columns, lines)) <= 98
    assert remark(_event(CONSUMED)) == ""


def test_a_payload_by_reference_is_told_with_its_size() -> None:
    assert remark(_event(STREAM, size_bytes=9)) == "its payload of 9 bytes is in the object store"


def test_of_very_many_events_the_first_are_listed() -> None:
    lines = list(table([_event(STREAM, event_id=f"t:{n}") for n in range(250)]))
    assert lines[-1] == "… and 50 more"
    assert len(lines) == 202
