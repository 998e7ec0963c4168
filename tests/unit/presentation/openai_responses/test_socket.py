"""Frames of WebSocket mode: what becomes a body, what is refused and how, and events as frames."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import BackendBusy, InvalidRequest
from appliance.presentation.errors import view
from appliance.presentation.openai_responses.socket import (
    error_frame,
    messages,
    read_frame,
)

EVENTS = (
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n'
    b": keep-alive\n\n"
    b'event: response.failed\ndata: {"type":"response.failed","sequence_number":1}\n\n'
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def create(**fields: Any) -> str:
    return json.dumps({"type": "response.create", **fields})


def test_a_frame_becomes_the_body_of_a_streamed_post() -> None:
    frame = read_frame(create(model="m", input=[{"a": 1}], stream_id="l", generate=True))
    assert json.loads(frame.body()) == {"stream": True, "model": "m", "input": [{"a": 1}]}
    assert (frame.lane, frame.generate) == ("l", True)


@pytest.mark.parametrize(
    ("fields", "previous"),
    [({"previous_response_id": "resp_1"}, "resp_1"), ({"previous_response_id": [1]}, ""), ({}, "")],
)
def test_what_a_frame_continues_is_known_before_it_is_understood(
    fields: dict[str, Any], previous: str
) -> None:
    assert read_frame(create(**fields)).previous == previous


def test_what_the_client_says_of_streaming_means_nothing() -> None:
    assert json.loads(read_frame(create(stream=False)).body()) == {"stream": True}


def test_a_client_may_ask_for_no_answer_yet() -> None:
    assert read_frame(create(generate=False)).generate is False
    assert read_frame(create(generate=None)).generate is True


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[" * 100_000, "invalid_frame"),
        ("[]", "invalid_frame"),
        ('"response.create"', "invalid_frame"),
        ('{"type":1}', "invalid_frame"),
        (create(stream_id="l" * 257), "invalid_frame"),
        (create(generate="no"), "invalid_frame"),
    ],
)
def test_what_is_no_frame_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_frame(text)
    assert refused.value.code == code


@pytest.mark.parametrize("kind", ["response.steer", "", "response.cancel"])
def test_a_frame_of_another_type_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(InvalidRequest, match="must be") as refused:
        read_frame(json.dumps({"type": kind})).body()
    assert (refused.value.code, refused.value.param) == ("unknown_event_type", "type")


def test_a_background_response_is_not_for_a_socket() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_frame(create(background=True)).body()
    assert refused.value.param == "background"


def test_every_event_is_a_text_frame_without_its_sse_lines() -> None:
    frames = list(messages(EVENTS))
    assert [json.loads(frame)["sequence_number"] for frame in frames] == [0, 1]


def test_every_frame_names_its_lane() -> None:
    for frame in [*messages(EVENTS, 'a"b'), error_frame(view(InvalidRequest("no")), 'a"b')]:
        assert json.loads(frame)["stream_id"] == 'a"b'


def test_an_error_is_nested() -> None:
    error = InvalidRequest("No such thing.", param="model", code="nope")
    assert json.loads(error_frame(view(error))) == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "nope",
            "message": "No such thing.",
            "param": "model",
        },
    }


def test_an_error_says_when_to_try_again() -> None:
    frame = json.loads(error_frame(view(BackendBusy("full", backend="b", retry_after_s=2.5))))
    assert (frame["status"], frame["error"]["headers"]) == (429, {"retry-after": "3"})


@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_a_frame_or_refused(text: str) -> None:
    try:
        json.loads(read_frame(text).body())
    except InvalidRequest:
        return


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_fields_of_the_body_arrive_as_they_were_sent(fields: dict[str, Any]) -> None:
    for name in ("type", "stream", "stream_id", "generate", "background"):
        fields.pop(name, None)
    assert json.loads(read_frame(create(**fields)).body()) == {"stream": True, **fields}
