import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import InvalidRequest
from appliance.domain.rerank.service import Document, RerankRequest
from appliance.presentation.rerank.decode import decode
from appliance.presentation.rerank.wire import MAX_DOCUMENTS, MAX_RANK_FIELDS


def read(**fields: Any) -> RerankRequest:
    body = {"query": "q", "documents": ["a"], **fields}
    return decode(json.dumps(body).encode(), {})


def test_the_least_there_can_be() -> None:
    assert read() == RerankRequest("", "q", (Document("a", "a"),))


def test_what_a_client_of_cohere_sends() -> None:
    request = read(
        model="rerank-v3.5",
        documents=["a", "b"],
        top_n=1,
        return_documents=True,
        max_chunks_per_doc=10,
        max_tokens_per_doc=4096,
    )
    assert (request.model, request.top_n, request.return_documents) == ("rerank-v3.5", 1, True)
    assert request.dropped == ("max_chunks_per_doc", "max_tokens_per_doc")


def test_what_a_client_of_jina_sends() -> None:
    request = read(model="jina-reranker-v2-base-multilingual", documents=[{"text": "a"}], top_n=3)
    assert request.documents == (Document("a", {"text": "a"}),)
    assert request.dropped == ()


def test_an_object_is_known_by_its_name() -> None:
    sent = [{"text": "a", "title": "T"}, {"text": "b", "id": 7, "title": "T"}, {"text": "c"}]
    assert [document.name for document in read(documents=sent).documents] == ["T", "7", ""]


def test_rank_fields_are_read_in_their_order() -> None:
    sent = {"title": "T", "body": "B", "text": "ignored", "year": 1}
    (document,) = read(documents=[sent], rank_fields=["body", "year", "title"]).documents
    assert document.text == "B\nT"


def test_null_is_as_good_as_absent() -> None:
    absent = dict.fromkeys(("model", "top_n", "return_documents", "rank_fields", "x_project"))
    assert read(**absent) == read()


def test_extensions_are_read_and_not_dropped() -> None:
    request = read(x_project="p", x_conversation="talk", x_route="direct", user="ann")
    assert (request.extensions.project, request.extensions.conversation) == ("p", "talk")
    assert request.dropped == ("user",)


def test_a_field_that_is_named_again_is_read_once() -> None:
    request = read(documents=[{"a": "x", "b": "y"}], rank_fields=["b", "a", "b"])
    assert request.documents[0].text == "y\nx"


def test_fields_beyond_measure_are_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(rank_fields=[str(n) for n in range(MAX_RANK_FIELDS + 1)])
    assert refused.value.param == "rank_fields"


@pytest.mark.parametrize("documents", [[], ["a", ""], [1], [None], [["a"]], [{"text": ""}], [{}]])
def test_a_document_without_a_text_is_refused_and_named(documents: list[Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(documents=documents)
    assert refused.value.param == "documents"
    if documents:
        assert f"documents[{len(documents) - 1}]" in str(refused.value)


def test_more_documents_than_anybody_allows_are_refused() -> None:
    assert len(read(documents=["x"] * MAX_DOCUMENTS).documents) == MAX_DOCUMENTS
    with pytest.raises(InvalidRequest, match=str(MAX_DOCUMENTS)):
        read(documents=["x"] * (MAX_DOCUMENTS + 1))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"query": ["q"]}, "query"),
        ({"documents": "a"}, "documents"),
        ({"documents": {"0": "a"}}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": -1}, "top_n"),
        ({"top_n": 1.5}, "top_n"),
        ({"top_n": 2**40}, "top_n"),
        ({"model": "m" * 513}, "model"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"rank_fields": "text"}, "rank_fields"),
        ({"x_project": "no spaces here"}, "x_project"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"query":"q"}', b"[" * 5000])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(body, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("query", "documents", "model", "top_n", "return_documents", "rank_fields", "x_project")


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON)
    | st.fixed_dictionaries(
        {"query": st.text(min_size=1), "documents": st.lists(JSON, min_size=1, max_size=4)},
        optional={"top_n": JSON, "rank_fields": st.lists(st.text(max_size=5), max_size=3)},
    )
)
def test_any_object_is_a_request_or_refused(sent: dict[str, Any]) -> None:
    try:
        request = decode(json.dumps(sent).encode(), {})
    except InvalidRequest:
        return
    assert all(document.text for document in request.documents)
    assert len(request.documents) == len(sent["documents"])


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_words(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(body, {})
