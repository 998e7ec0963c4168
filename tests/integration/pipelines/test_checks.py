"""Each check fails when what it looks for is there, and not before."""

import asyncio

import dagster as dg

from tests.fakes.dagster_lab import Lab
from tests.fakes.kept_events import recent

LINEAGE = "knowledge_flow_lineage"
ALL_FRESH = "freshness_s = 600.0"
NONE_FRESH = "freshness_s = 0.001"


def failed(lab: Lab, run: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    return {key for key, found in lab.checks(run).items() if not found.passed}


def test_all_checks_pass_over_what_a_run_wrote(lab: Lab) -> None:
    lab.publish(recent(1), recent(2))
    asyncio.run(lab.kept.consume())
    run = lab.run(LINEAGE)
    assert set(lab.checks(run)) == {
        ("flow_lineage", name) for name in ("no_duplicates", "fresh", "no_orphans", "every_chat")
    }
    assert failed(lab, run) == set()


def test_a_row_that_is_there_twice_is_an_error(lab: Lab) -> None:
    lab.publish(recent(1))
    asyncio.run(lab.kept.consume())
    lab.kept.execute("ALTER TABLE chat_pairs DROP CONSTRAINT chat_pairs_pkey")
    lab.kept.execute("INSERT INTO chat_pairs SELECT * FROM chat_pairs")
    run = lab.run("dagster_housekeeping")
    assert failed(lab, run) == {("chat_record", "no_duplicates")}
    found = lab.checks(run)["chat_record", "no_duplicates"]
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description == "1 rows of chat_pairs are there again"


def test_a_node_without_its_parent_is_an_error(lab: Lab) -> None:
    lab.publish(recent(1))
    asyncio.run(lab.kept.consume())
    assert lab.run(LINEAGE).success  # or the next would write it again
    lab.kept.execute("DELETE FROM flow_lineage WHERE node_id = 'request'")
    assert failed(lab, run := lab.run(LINEAGE)) == {("flow_lineage", "no_orphans")}
    assert lab.checks(run)["flow_lineage", "no_orphans"].severity == dg.AssetCheckSeverity.ERROR


def test_a_node_of_an_exchange_nobody_knows_is_one_after_a_while(lab: Lab) -> None:
    lab.publish(recent(1))
    asyncio.run(lab.kept.consume())
    lab.kept.execute("DELETE FROM chat_history")
    assert failed(lab, lab.run(LINEAGE)) == set()  # it may be on its way
    lab.configure(dagster=NONE_FRESH)
    assert failed(lab, lab.run(LINEAGE)) == {("flow_lineage", "no_orphans")}


def test_a_chat_without_lineage_is_a_warning_after_a_while(lab: Lab) -> None:
    lab.publish(recent(1))
    asyncio.run(lab.kept.consume())
    lab.kept.execute("DELETE FROM flow_lineage")
    lab.configure(dagster=NONE_FRESH)
    found = lab.checks(lab.run("dagster_housekeeping"))["flow_lineage", "every_chat"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_events_that_wait_too_long_are_a_warning_until_either_driver_has_them(lab: Lab) -> None:
    lab.configure(dagster=NONE_FRESH)
    lab.publish(recent(1))
    late = lab.checks(lab.run("dagster_housekeeping"))["chat_record", "fresh"]
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 events wait" in str(late.description)
    lab.configure(dagster=ALL_FRESH)
    assert lab.checks(lab.run("dagster_housekeeping"))["chat_record", "fresh"].passed
    lab.configure(dagster=NONE_FRESH)
    run = lab.run("knowledge_chat_persist")  # its pairs fail: there is no inference role
    assert lab.metadata(run, "chat_record")["events"] == 1
    assert lab.checks(lab.run("dagster_housekeeping"))["chat_record", "fresh"].passed


def test_nobody_knows_how_fresh_it_is_without_nats(lab: Lab) -> None:
    lab.kept.server.kill()
    run = lab.run("dagster_housekeeping")
    assert run.success, lab.failures(run)
    assert {name for _, name in failed(lab, run)} == {"fresh"}
