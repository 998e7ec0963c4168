"""The event assets over real parts: what waits becomes rows once, whoever is first."""

import asyncio
import time
from dataclasses import replace

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES
from appliance.domain.events.embedding import EMBEDDING
from appliance.pipelines.table import SUBJECTS
from tests.fakes.dagster_lab import EVERY_ASSET, Lab
from tests.fakes.deliveries import dump
from tests.fakes.kept_events import TABLES, recent


def test_each_job_writes_what_waits_and_a_second_run_finds_nothing(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    for subject in SUBJECTS:
        if subject.name == PERSIST:
            continue  # it goes on to the pairs: see test_knowledge_assets.py
        found = lab.metadata(lab.run(subject.job), subject.asset)
        rows = lab.kept.rows(subject.tables)
        assert found["rows_written"] == sum(rows.values()), subject.asset
        assert set(found) >= EVERY_ASSET, subject.asset
        for table, count in rows.items():
            assert found[f"{table}/rows_written"] == count
        again = lab.metadata(lab.run(subject.job), subject.asset)
        assert (again["events"], again["rows_written"], again["rows_already_there"]) == (0, 0, 0)
    assert lab.kept.rows(["flow_lineage"])["flow_lineage"] > 0


def test_a_materialisation_says_what_it_is(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    found = lab.metadata(lab.run("knowledge_embedding"), "embedding_record")
    assert found["events"] == 2
    assert found["dagster/row_count"] == 2
    assert found["dagster/table_name"].endswith(".public.embedding_events")
    assert [c.name for c in found["dagster/column_schema"].columns][:2] == ["event_id", "trace_id"]
    assert found["oldest"] <= found["newest"] <= time.time()
    ((sequence,),) = lab.kept.execute("SELECT max(stream_sequence) FROM embedding_events")
    assert found["last_sequence"] == sequence
    assert found["preview"].startswith("| event_id | trace_id |")
    assert found["preview"].count("\n") == 3


def test_what_the_consumer_role_wrote_is_there_already(lab: Lab) -> None:
    lab.publish(recent(1), recent(2), recent(3))
    asyncio.run(lab.kept.consume())
    before = dump(lab.kept.dsn, TABLES)
    found = lab.metadata(lab.run("knowledge_flow_lineage"), "flow_lineage")
    assert found["events"] == 3
    assert found["rows_written"] == 0
    assert found["rows_already_there"] == lab.kept.rows(["flow_lineage"])["flow_lineage"]
    assert dump(lab.kept.dsn, TABLES) == before


def test_a_run_remembers_which_events_it_handled(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    run = lab.run("knowledge_compose")
    rows = lab.kept.execute(
        "SELECT run_id, job, asset, subject, events, inserted, offered FROM pipeline_runs"
    )
    subject = "pipeline.knowledge.compose"
    assert rows == [(run.run_id, "knowledge_compose", "compose_record", subject, 2, 2, 2)]
    ((covered,),) = lab.kept.execute(
        "SELECT count(*) FROM compose_events c, pipeline_runs r WHERE r.sequences @> "
        "c.stream_sequence"
    )
    assert covered == 2


def test_a_run_of_one_exchange_has_both_its_ids(lab: Lab) -> None:
    exchange = replace(recent(1), correlation_id="call:7/a@b")
    lab.publish(exchange)
    tags = lab.tags(lab.run("knowledge_tool_call"))
    assert (tags["trace_id"], tags["correlation_id"]) == (exchange.trace_id, "call:7/a@b")
    assert tags["appliance/subject"] == "pipeline.knowledge.tool_call"


def test_a_run_of_two_exchanges_has_no_ids(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    tags = lab.tags(lab.run("knowledge_retrieve"))
    assert not {"trace_id", "correlation_id"} & set(tags)


def test_a_run_takes_no_more_than_it_may_and_the_next_takes_the_rest(lab: Lab) -> None:
    lab.configure(dagster="run_events = 2")
    lab.publish(recent(1), recent(2), recent(3))
    assert lab.metadata(lab.run("knowledge_embedding"), "embedding_record")["events"] == 2
    assert lab.metadata(lab.run("knowledge_embedding"), "embedding_record")["events"] == 1


def test_what_is_no_event_is_buried_and_counted(lab: Lab) -> None:
    lab.publish(recent(1))
    lab.publish_raw(EMBEDDING, b"not json", "bad")
    found = lab.metadata(lab.run("knowledge_embedding"), "embedding_record")
    assert (found["rows_written"], found["buried"]) == (1, 1)
    assert lab.kept.rows(["dead_letters"]) == {"dead_letters": 1}


def test_a_backfill_restores_the_rows_of_a_range_and_acks_nothing(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    asyncio.run(lab.kept.consume())
    before = lab.kept.rows()
    lab.kept.execute("TRUNCATE embedding_events, flow_lineage, chat_pairs, chat_history")
    run = lab.run("knowledge_backfill", {"since": "1h"})
    assert run.success, lab.failures(run)
    assert lab.kept.rows() == before
    assert lab.metadata(run, "embedding_record")["embedding_events/rows_written"] == 2
    assert lab.metadata(run, "tool_call_record")["rows_written"] == 0
    # What waits still waits: nothing was acked.
    assert lab.metadata(lab.run("knowledge_embedding"), "embedding_record")["events"] == 2


def test_a_backfill_of_another_range_restores_nothing(lab: Lab) -> None:
    lab.publish(recent(1))
    run = lab.run("knowledge_backfill", {"since": "3h", "until": "2h"})
    assert run.success, lab.failures(run)
    assert set(lab.kept.rows().values()) == {0}


def test_a_range_that_is_none_is_refused_at_once(lab: Lab) -> None:
    for window, said in (
        ({"since": "yesterday"}, "neither a time with its zone"),
        ({"since": "1h", "until": "2h"}, "is empty"),
        ({"since": ""}, "`since` is missing"),
    ):
        run = lab.run("knowledge_backfill", window)
        assert not run.success
        failures = lab.failures(run)
        assert set(failures) == {subject.asset for subject in SUBJECTS}
        assert all(said in sentence for sentence in failures.values()), failures
        assert not any(event.is_step_up_for_retry for event in run.all_events)


def test_every_subject_with_a_durable_has_a_row() -> None:
    assert {subject.name for subject in SUBJECTS} == set(DURABLES)
