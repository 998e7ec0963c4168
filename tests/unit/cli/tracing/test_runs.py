from dataclasses import replace

from appliance.cli.tracing.page import page
from appliance.cli.tracing.runs import MOST_RUNS, lines
from appliance.cli.tracing.timeline import timeline
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.trace import POSTGRES, STREAM, Traced, TracedEvent, TracedRun

EVENT = TracedEvent(
    event_id="t:pipeline",
    subject=PERSIST,
    place=POSTGRES,
    trace_id="t",
    consumer="chat_persist",
    acked=True,
    sequence=7,
    rows={"chat_history": 3},
)
RUN = TracedRun(
    run_id="3f2a9c1e-0000-4000-8000-000000000001",
    job="knowledge_chat_persist",
    asset="chat_record",
    subject=PERSIST,
    began_at="2026-11-18T11:06:43.250000Z",
    status="SUCCESS",
    ended_at="2026-11-18T11:06:45.250000Z",
    materialised_at="2026-11-18T11:06:44.250000Z",
    events=1,
    rows_written=3,
    rows_already_there=1,
    url="http://127.0.0.1:3000/runs/3f2a9c1e-0000-4000-8000-000000000001",
)


def _traced(*runs: TracedRun, event: TracedEvent = EVENT) -> Traced:
    return Traced(
        trace_id="t",
        correlation_id="c",
        conversation_id="k",
        occurred_at="",
        events=(event,),
        runs=runs,
    )


def test_a_run_is_told_once_with_all_its_assets_and_its_page() -> None:
    pair = replace(RUN, asset="chat_pair_record", rows_written=1, rows_already_there=0)
    assert list(lines(_traced(RUN, replace(pair, materialised_at="")))) == [
        "3f2a9c1e  knowledge_chat_persist  2026-11-18T11:06:43  success",
        "          chat_record       1 event: 3 rows written, 1 already there, "
        "materialised 11:06:44",
        "          chat_pair_record  1 event: 1 row written, 0 already there, not materialised",
        "          http://127.0.0.1:3000/runs/3f2a9c1e-0000-4000-8000-000000000001",
    ]


def test_what_dagster_does_not_say_is_not_known() -> None:
    told = "\n".join(lines(_traced(replace(RUN, status="", materialised_at="", url=""))))
    assert "state not known" in told
    assert "materialisation not known" in told
    assert "http" not in told


def test_without_a_run_no_more_is_said_than_is_known() -> None:
    nobody = "no run of Dagster has recorded it"
    by_consumer = f"{nobody}: the consumer took its events"
    assert list(lines(_traced())) == [by_consumer]
    waiting = replace(EVENT, place=STREAM, rows={}, acked=False)
    by_dagster = replace(EVENT, consumer="dagster_chat_persist")
    for event in (waiting, by_dagster, replace(EVENT, acked=None), replace(EVENT, acked=False)):
        assert list(lines(_traced(event=event))) == [nobody]
    assert list(lines(replace(_traced(), runs=None))) == ["not looked at"]


def test_many_runs_are_told_up_to_a_number() -> None:
    many = [replace(RUN, run_id=f"{n:08d}") for n in range(MOST_RUNS + 3)]
    told = list(lines(_traced(*many)))
    assert told[-1] == "… and 3 more"
    assert sum("knowledge_chat_persist" in line for line in told) == MOST_RUNS


def test_the_timeline_and_the_page_have_them() -> None:
    traced = _traced(RUN)
    assert "runs\n  3f2a9c1e  knowledge_chat_persist" in "\n".join(timeline(traced))
    html = page("t", [traced], ())
    assert "Runs of Dagster" in html
    assert f'<a href="{RUN.url}">{RUN.url}</a>' in html
    assert "materialised 11:06:44" in html
    assert "no run of Dagster has recorded it" in page("t", [_traced()], ())
