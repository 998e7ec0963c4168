from typing import Any

from appliance.domain.events.exchange import Attempt, Embedding, Exchange, Retrieval
from appliance.domain.events.lineage import FlowLineage
from tests.fakes.exchanges import exchange
from tests.fakes.flows import moderated, reranked
from tests.unit.domain.events.test_topics import whole


def edges(of: Exchange) -> dict[str, list[str]]:
    """Parents by node."""
    return {node["id"]: node["parents"] for node in nodes(of)}


def nodes(of: Exchange) -> list[dict[str, Any]]:
    (payload,) = FlowLineage.payloads(of)
    found: list[dict[str, Any]] = payload["nodes"]
    return found


def test_a_plain_chat_flows_from_request_through_the_model_to_the_answer() -> None:
    assert edges(exchange(1, retrieval=None)) == {
        "request": [],
        "llm:1": ["request"],
        "answer": ["llm:1"],
    }


def test_knowledge_and_tools_lie_between() -> None:
    assert edges(whole()) == {
        "request": [],
        "result:0": ["request"],
        "embedding": ["request"],
        "retrieve": ["embedding"],
        "compose": ["retrieve"],
        "llm:1": ["result:0", "compose"],
        "tool:0": ["llm:1"],
        "answer": ["llm:1", "tool:0"],
    }


def test_an_answer_that_is_calls_alone_comes_from_them_alone() -> None:
    assert edges(whole(answer=""))["answer"] == ["tool:0"]


def test_calls_of_an_exchange_that_was_cut_off_say_so() -> None:
    cut = nodes(whole(status="cancelled"))
    assert [node["status"] for node in cut if node["kind"] == "tool"] == ["cancelled"]


def test_the_answer_begins_with_its_first_token_and_ends_with_the_exchange() -> None:
    answer = nodes(exchange(1, duration_s=0.5, time_to_first_token_s=0.1))[-1]
    assert (answer["began_s"], answer["duration_s"]) == (0.1, 0.4)
    silent = nodes(exchange(1, duration_s=0.5, time_to_first_token_s=None))[-1]
    assert (silent["began_s"], silent["duration_s"]) == (None, None)


def test_knowledge_that_was_not_looked_up_was_skipped() -> None:
    nothing = nodes(exchange(1, retrieval=Retrieval("default")))
    assert [n["status"] for n in nothing if n["kind"] in ("retrieve", "compose")] == ["skipped"] * 2


def test_every_attempt_is_a_node_and_the_last_one_leads_on() -> None:
    tried = tuple(Attempt(f"b{n}", "m", "BackendUnavailable") for n in range(11))
    made = exchange(1, retrieval=None, attempts=(*tried, Attempt("c", "m", "ok")))
    assert edges(made)["answer"] == ["llm:12"]
    assert [n["status"] for n in nodes(made) if n["kind"] == "llm"][-2:] == [
        "BackendUnavailable",
        "ok",
    ]


def test_an_exchange_that_failed_before_a_model_was_asked_is_still_whole() -> None:
    failed = exchange(1, retrieval=None, attempts=(), status="failed", error_type="ModelNotFound")
    assert edges(failed) == {"request": [], "answer": ["request"]}
    assert nodes(failed)[-1]["status"] == "failed"


def test_knowledge_that_could_not_be_looked_up_says_which_part_failed() -> None:
    degraded = exchange(1, retrieval=Retrieval("default", degraded="inference"))
    assert edges(degraded)["retrieve"] == ["request"]
    assert [n["status"] for n in nodes(degraded) if n["id"] == "retrieve"] == ["degraded:inference"]


def test_an_embedding_is_three_nodes() -> None:
    made = Embedding("request", "m", ("a",), 256, 1, 0.0, 0.01)
    one = exchange(1, operation="embeddings", retrieval=None, attempts=(), embedding=made)
    assert edges(one) == {"request": [], "embedding": ["request"], "answer": ["embedding"]}


def test_a_moderation_is_three_nodes_with_counts_of_what_it_judged() -> None:
    one = moderated(exchange(1))
    assert edges(one) == {"request": [], "moderation": ["request"], "answer": ["moderation"]}
    node = nodes(one)[1]
    assert (node["name"], node["status"], node["duration_s"]) == ("lexicon-en-1", "ok", 0.004)
    assert node["detail"] == {"inputs": 2, "flagged": 1}
    failed = moderated(exchange(1), status="failed", error_type="PartUnavailable")
    assert nodes(failed)[1]["status"] == "PartUnavailable"


def test_a_rerank_is_three_nodes_and_ok_where_there_are_scores() -> None:
    one = reranked(exchange(1))
    assert edges(one) == {"request": [], "rerank": ["request"], "answer": ["rerank"]}
    node = nodes(one)[1]
    assert (node["name"], node["status"]) == ("bm25+all-minilm-l6-v2", "ok")
    assert node["detail"] == {"documents": 3, "input_tokens": 40}
    failed = reranked(exchange(1), status="failed", error_type="PartUnavailable")
    assert nodes(failed)[1]["status"] == "PartUnavailable"
    assert nodes(reranked(exchange(1), status="cancelled"))[1]["status"] == "cancelled"


def test_knowledge_may_be_reranked_before_it_is_composed() -> None:
    found = edges(whole(rerank=reranked(exchange(1)).rerank))
    assert (found["rerank"], found["compose"]) == (["retrieve"], ["rerank"])


def test_parents_come_before_their_children_and_nobody_is_an_orphan() -> None:
    for made in (exchange(1), whole(), whole(attempts=()), whole(retrieval=None)):
        seen: set[str] = set()
        for node in nodes(made):
            assert set(node["parents"]) <= seen
            assert node["id"] not in seen
            seen.add(node["id"])


def test_no_text_is_in_it() -> None:
    secret = whole(answer="SECRET", messages=({"role": "user", "content": "SECRET"},))
    assert "SECRET" not in str(nodes(secret))
