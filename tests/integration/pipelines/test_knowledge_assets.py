"""Pairs with their vectors, and all events of an exchange, over real parts."""

from tests.fakes.dagster_lab import EVERY_ASSET, Lab
from tests.fakes.inference import ScriptedInference
from tests.fakes.kept_events import recent

CHAT = "knowledge_chat_persist"
PAIRS = "knowledge_chat_pair_materialize"


def inference(url: str) -> str:
    return f'[inference]\nurl = "{url}"\ntimeout_s = 20.0\n'


def test_a_chat_becomes_rows_a_pair_with_its_vector_and_a_knowledge_event(lab: Lab) -> None:
    with ScriptedInference() as role:
        lab.configure(inference(role.url))
        exchange = recent(1)
        lab.publish(exchange)
        for job in ("knowledge_embedding", "knowledge_flow_lineage", "knowledge_tool_call"):
            assert lab.run(job).success
        run = lab.run(CHAT)
    assert run.success, lab.failures(run)
    written = lab.metadata(run, "chat_record")
    assert written["chat_pairs/rows_written"] == 1
    assert written["chat_history/rows_written"] == lab.kept.rows()["chat_history"]
    pairs = lab.metadata(run, "chat_pair_record")
    assert (pairs["pairs"], pairs["rows_written"], pairs["waiting"]) == (1, 1, 0)
    assert pairs["model"] == "words"
    assert pairs["dagster/row_count"] == 1
    known = lab.metadata(run, "knowledge_events")
    assert (known["exchanges"], known["with_embedding"], known["without_embedding"]) == (1, 1, 0)
    assert (known["with_flow_lineage"], known["with_tool_call"], known["with_compose"]) == (1, 1, 0)
    assert exchange.trace_id in known["preview"]
    for asset in ("chat_record", "chat_pair_record", "knowledge_events"):
        assert set(lab.metadata(run, asset)) >= EVERY_ASSET
    assert lab.tags(run)["trace_id"] == exchange.trace_id
    handled = lab.kept.execute(
        "SELECT asset FROM pipeline_runs, chat_pairs WHERE run_id = %s "
        "AND sequences @> stream_sequence ORDER BY asset",
        run.run_id,
    )
    assert handled == [("chat_pair_record",), ("chat_record",), ("knowledge_events",)]


def test_a_view_is_not_behind_when_what_it_shows_is_written_again(lab: Lab) -> None:
    with ScriptedInference() as role:
        lab.configure(inference(role.url))
        lab.publish(recent(1))
        assert lab.run(CHAT).success
        assert lab.run("knowledge_flow_lineage").success  # has never been written before
        assert lab.status("knowledge_events") == "FRESH"
        lab.publish(recent(2))
        assert lab.run("knowledge_flow_lineage").success
        assert lab.status("knowledge_events") == "FRESH"


def test_without_the_inference_role_the_chat_is_kept_and_its_vector_comes_later(
    stored: Lab,
) -> None:
    lab = stored
    with ScriptedInference() as gone:
        url = gone.url
    lab.configure(inference(url))
    lab.publish(recent(1))
    run = lab.run(CHAT)
    assert not run.success
    assert lab.metadata(run, "chat_record")["chat_pairs/rows_written"] == 1
    assert set(lab.failures(run)) == {"chat_pair_record"}
    assert "the inference role" in lab.failures(run)["chat_pair_record"]
    retries = [event for event in run.all_events if event.is_step_up_for_retry]
    assert {event.step_key for event in retries} == {"chat_pair_record"}
    assert not run.asset_materializations_for_node("knowledge_events")

    assert not isinstance(lab.look(f"{PAIRS}_schedule"), str)
    with ScriptedInference() as role:
        lab.configure(inference(role.url))
        run = lab.run(PAIRS)
        again = lab.run(PAIRS)
    assert run.success, lab.failures(run)
    assert lab.metadata(run, "chat_pair_record")["rows_written"] == 1
    assert lab.metadata(again, "chat_pair_record")["pairs"] == 0
    assert lab.metadata(again, "chat_pair_record")["dagster/row_count"] == 1
    assert lab.look(f"{PAIRS}_schedule") == "no pair waits for its vector"


def test_without_an_inference_role_a_pair_fails_at_once_and_says_so(lab: Lab) -> None:
    lab.publish(recent(1))
    run = lab.run(CHAT)
    assert "[inference] url" in lab.failures(run)["chat_pair_record"]
    assert not any(event.is_step_up_for_retry for event in run.all_events)
