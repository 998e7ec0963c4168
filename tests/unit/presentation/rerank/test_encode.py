import json
from typing import Any

from appliance.domain.rerank.service import Document, Hit, Reranked, RerankRequest
from appliance.presentation.rerank.encode import encode

DOCUMENTS = (
    Document("a", "a"),
    Document("b", {"text": "b", "id": 7}, "7"),
    Document("c\nd", {"title": "c", "body": "d"}),
)
RERANKED = Reranked("bm25+words", (Hit(1, 0.75), Hit(2, 0.5), Hit(0, 0.25)), 9)


def answer(**fields: Any) -> dict[str, Any]:
    request = RerankRequest("rerank-v3.5", "q", DOCUMENTS, **fields)
    return dict(json.loads(encode(RERANKED, request, "t" * 32, "2")))


def test_every_key_that_a_client_reads_is_there() -> None:
    assert answer() == {
        "id": "t" * 32,
        "object": "list",
        "model": "bm25+words",
        "results": [
            {"index": 1, "relevance_score": 0.75},
            {"index": 2, "relevance_score": 0.5},
            {"index": 0, "relevance_score": 0.25},
        ],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
        "meta": {"api_version": {"version": "2"}, "tokens": {"input_tokens": 9}},
    }


def test_top_n_leaves_the_rest_out() -> None:
    assert [row["index"] for row in answer(top_n=2)["results"]] == [1, 2]
    assert len(answer(top_n=99)["results"]) == 3


def test_documents_come_back_as_they_were_sent_with_the_text_that_was_scored() -> None:
    assert [row["document"] for row in answer(return_documents=True)["results"]] == [
        {"text": "b", "id": 7},
        {"text": "c\nd", "title": "c", "body": "d"},
        {"text": "a"},
    ]


def test_tokens_that_nobody_counted_are_not_made_up() -> None:
    untold = Reranked("m", (Hit(0, 1.0),), None)
    told = json.loads(encode(untold, RerankRequest("", "q", DOCUMENTS[:1]), "t", "1"))
    assert told["meta"] == {"api_version": {"version": "1"}}
