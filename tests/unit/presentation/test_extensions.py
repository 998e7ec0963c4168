import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import InvalidRequest
from appliance.presentation.extensions import extensions


def test_nothing_given_is_nothing() -> None:
    assert extensions({}, {}) == Extensions()
    assert extensions({"route": None, "workspace": ""}, {"x-route": ""}) == Extensions()


def test_headers_count_and_the_bodys_field_wins() -> None:
    headers = {"x-route": "rag", "x-workspace": "team", "x-project": "p", "x-conversation": "a/b=1"}
    assert extensions({}, headers) == Extensions("rag", "team", "p", "a/b=1")
    assert extensions({"workspace": "own"}, headers).workspace == "own"


@pytest.mark.parametrize("name", ["route", "workspace", "project"])
@pytest.mark.parametrize("value", ["../etc", "a b", "a\n", ".hidden", "-x", "a" * 65, "ü", "a/b"])
def test_a_value_outside_its_alphabet_is_refused_and_named(name: str, value: str) -> None:
    for fields, headers in (({name: value}, {}), ({}, {f"x-{name}": value})):
        with pytest.raises(InvalidRequest) as refused:
            extensions(fields, headers)
        assert refused.value.param == f"x_{name}"


@given(st.text())
def test_what_passes_is_fit_for_a_subject_a_path_and_a_header(value: str) -> None:
    try:
        found = extensions({"workspace": value}, {}).workspace
    except InvalidRequest:
        return
    assert found == value
    assert found.isascii()
    assert not set(found) & set("/\\ \n\r\t*>$\"'")
    assert not found.startswith((".", "-"))
