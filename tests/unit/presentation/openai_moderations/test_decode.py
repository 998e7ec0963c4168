import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import InvalidRequest
from appliance.domain.moderation.ports import ModerationInput
from appliance.domain.moderation.service import ModerationRequest
from appliance.presentation.openai_moderations import decode
from appliance.presentation.openai_moderations.wire import MAX_IMAGES, MAX_INPUTS, MAX_PARTS

URL = "https://example.test/a.png"
DATA = "data:image/png;base64,iVBORw0KGgo="


def read(**fields: Any) -> ModerationRequest:
    return decode(json.dumps(fields).encode(), {})


def text(said: str = "hi") -> dict[str, Any]:
    return {"type": "text", "text": said}


def image(url: str = URL) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_one_text_is_one_input() -> None:
    assert read(input="hi") == ModerationRequest("", (ModerationInput(("hi",)),))


def test_a_list_of_texts_is_an_input_each_and_unknown_fields_are_kept() -> None:
    assert read(input=["b", "a"], model="m", user="ann", x_project="p") == ModerationRequest(
        "m",
        (ModerationInput(("b",)), ModerationInput(("a",))),
        {"user": "ann"},
        Extensions(project="p"),
    )


def test_a_list_of_parts_is_one_input() -> None:
    given = [text("a"), image(), text("b"), image(DATA)]
    assert read(input=given).inputs == (ModerationInput(("a", "b"), (URL, DATA), parts=True),)
    assert read(input=[image()], model=None).inputs == (ModerationInput((), (URL,), parts=True),)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        (None, "input"),
        (5, "input"),
        ({}, "input"),
        (text(), "input"),
        ([], "input"),
        ([""], "input[0]"),
        (["a", ""], "input[1]"),
        (["a", 1], "input[1]"),
        ([[1, 2]], "input[0]"),
        (["a", text()], "input[1]"),
        ([text(), "a"], "input[1]"),
        ([text("")], "input[0].text"),
        ([{"type": "text"}], "input[0]"),
        ([{"type": "audio", "audio": "x"}], "input[0]"),
        ([{"text": "hi"}], "input[0]"),
        ([image("ftp://example.test/a")], "input[0].image_url.url"),
        ([image("data:image/png;base64,%%%")], "input[0].image_url.url"),
        ([image("https://example.test/" + "a" * 9000)], "input[0].image_url.url"),
        ([{"type": "image_url", "image_url": URL}], "input[0]"),
        (["a"] * (MAX_INPUTS + 1), "input"),
        ([text()] * (MAX_PARTS + 1), "input"),
        ([image()] * (MAX_IMAGES + 1), "input"),
    ],
)
def test_anything_else_is_refused_by_its_place(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(input=given)
    assert refused.value.param == param


def test_no_input_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(model="m")
    assert refused.value.param == "input"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(URL),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "text", "image_url", "url", "input", "model"]),
            inner,
            max_size=4,
        )
        | st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": inner})
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["input", "model", "x_project", "user"]), _VALUES))
def test_any_object_is_a_request_or_refused(sent: dict[str, Any]) -> None:
    try:
        request = decode(json.dumps(sent).encode(), {})
    except InvalidRequest:
        return
    assert request.inputs
    assert all(each.texts or each.images for each in request.inputs)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(body, {})
