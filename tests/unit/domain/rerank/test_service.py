"""Who scores, and in which order what was scored comes back."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from appliance.domain.errors import InvalidRequest, ModelNotFound, PartUnavailable
from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Reranker, Scores
from appliance.domain.rerank.service import Document, Hit, RerankRequest, RerankService, chosen
from tests.fakes.rerank_role import FUSION, MAXSIM, FakeRole


def request(*texts: str, **more: Any) -> RerankRequest:
    fields = {"model": "", "query": "red fox"} | more
    return RerankRequest(documents=tuple(Document(text, text) for text in texts), **fields)


def service(role: Any, max_documents: int = 10, timeout_s: float = 5.0) -> RerankService:
    return RerankService(role, max_documents=max_documents, timeout_s=timeout_s)


async def test_the_best_comes_first_and_equals_stay_in_their_order() -> None:
    role = FakeRole()
    found = await service(role).rerank(request("blue", "a red fox", "red", "red sky"))
    assert found.hits == (Hit(1, 1.0), Hit(2, 0.5), Hit(3, 0.5), Hit(0, 0.0))
    assert (found.model, found.input_tokens) == ("bm25+words", 7)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", MAXSIM),
        ("auto", MAXSIM),
        ("rerank-v3.5", MAXSIM),
        ("rerank-multilingual-v3.0", MAXSIM),
        ("jina-reranker-v2-base-multilingual", MAXSIM),
        ("jina-colbert-v2", MAXSIM),
        ("colbert-small", MAXSIM),
        ("colbert", MAXSIM),
        ("ColBERTv2.0", MAXSIM),
        ("bm25+words", FUSION),
        (" BM25+Words ", FUSION),
    ],
)
def test_a_name_means_one_of_those_there_are(asked: str, expected: Reranker) -> None:
    assert chosen(asked, (MAXSIM, FUSION)) == expected


@pytest.mark.parametrize("asked", ["", "auto", "rerank-v4.0-pro", "jina-reranker-v3"])
def test_without_a_colbert_the_fusion_is_the_default(asked: str) -> None:
    assert chosen(asked, (FUSION,)) == FUSION


@pytest.mark.parametrize("asked", ["colbert", "colbertv2.0", "bge-reranker-v2-m3", "gpt-5"])
def test_a_name_nobody_has_is_not_found_and_told_which_there_are(asked: str) -> None:
    with pytest.raises(ModelNotFound, match=r"the inference role has bm25\+words"):
        chosen(asked, (FUSION,))


async def test_more_documents_than_the_limit_are_refused_before_the_role_is_asked() -> None:
    role = FakeRole()
    with pytest.raises(InvalidRequest, match="2 are the limit") as refused:
        await service(role, max_documents=2).rerank(request("a", "b", "c"))
    assert refused.value.param == "documents"
    assert not role.asked


class Slow(FakeRole):
    async def score(
        self,
        reranker: Reranker,
        query: str,
        texts: Sequence[str],
        identity: Identity | None = None,
    ) -> Scores:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")


async def test_a_role_that_does_not_answer_in_time_is_unavailable() -> None:
    with pytest.raises(
        PartUnavailable, match=r"rerank 1 documents within 0\.01 s .* send fewer"
    ) as failed:
        await service(Slow(), timeout_s=0.01).rerank(request("a"))
    assert failed.value.part == "inference"
