import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import InvalidRequest
from appliance.presentation.openai_embeddings.decode import decode
from appliance.presentation.openai_embeddings.wire import MAX_INPUTS


def read(**fields: Any) -> tuple[EmbeddingRequest, str]:
    return decode(json.dumps(fields).encode(), {})


def test_one_text_is_a_batch_of_one() -> None:
    assert read(model="m", input="hi") == (EmbeddingRequest("m", ("hi",)), "float")


def test_a_batch_keeps_its_order_and_unknown_fields_are_kept() -> None:
    request, encoding = read(
        input=["b", "a", "b"], encoding_format="base64", dimensions=3, user="ann", x_project="p"
    )
    assert (request.texts, request.dimensions, encoding) == (("b", "a", "b"), 3, "base64")
    assert (request.model, request.params) == ("", {"user": "ann"})


def test_null_is_as_good_as_absent() -> None:
    assert read(input="x", model=None, encoding_format=None, dimensions=None) == (
        EmbeddingRequest("", ("x",)),
        "float",
    )


@pytest.mark.parametrize(
    "given",
    ["", [], [""], ["a", ""], [1, 2], [[1], [2]], [True], ["a", 1], ["a", None], {}, 5, None],
)
def test_an_input_that_is_no_text_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(input=given)
    assert refused.value.param == "input"


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_told_apart_from_other_mistakes(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="token ids"):
        read(input=given)


def test_more_texts_than_the_limit_are_refused() -> None:
    assert len(read(input=["x"] * MAX_INPUTS)[0].texts) == MAX_INPUTS
    with pytest.raises(InvalidRequest, match=str(MAX_INPUTS)):
        read(input=["x"] * (MAX_INPUTS + 1))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "dimensions": "9"}, "dimensions"),
        ({"input": "x", "model": []}, "model"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**fields)
    assert refused.value.param == param


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["input", "model", "encoding_format", "dimensions", "x"]), VALUES
    )
)
def test_any_json_decodes_to_texts_or_is_refused(fields: dict[str, Any]) -> None:
    try:
        request, encoding = read(**fields)
    except InvalidRequest:
        return
    assert request.texts
    assert all(isinstance(text, str) and text for text in request.texts)
    assert encoding in ("float", "base64")
