import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import InvalidRequest
from appliance.presentation.openai_responses import (
    compacted,
    input_items_page,
    output_items,
    rebuilt,
)
from tests.unit.presentation.openai_responses.test_golden import CASES, streamed
from tests.unit.presentation.openai_responses.test_sdk import events, streaming

ITEMS = [{"id": f"msg_{n}", "type": "message"} for n in range(30)]


def page(**query: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(input_items_page(ITEMS, query))
    return told


def test_input_items_are_the_newest_first_unless_asked_otherwise() -> None:
    newest = page()
    assert (newest["first_id"], newest["last_id"], newest["has_more"]) == ("msg_29", "msg_10", True)
    rest = page(after="msg_10")
    assert (rest["first_id"], rest["last_id"], rest["has_more"]) == ("msg_9", "msg_0", False)
    oldest = page(order="asc", limit="2", after="msg_3")
    assert [item["id"] for item in oldest["data"]] == ["msg_4", "msg_5"]


def test_a_page_of_nothing() -> None:
    told = json.loads(input_items_page([], {}))
    assert told == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"order": "random"}, "order"),
        ({"after": "msg_x"}, "after"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as failed:
        input_items_page(ITEMS, query)
    assert failed.value.param == param


def cut_frames(case: Path, count: int) -> bytes:
    return b"".join(frame + b"\n\n" for frame in streamed(case)[0].split(b"\n\n")[:count])


def live(case: Path) -> bytes:
    """The resource as the row has it while its stream is produced."""
    first = next(events(streamed(case)[0]))
    return json.dumps(first["response"]).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_orphan_has_failed_with_what_its_events_had_said(case: Path) -> None:
    frames, _ = streamed(case)
    total = frames.count(b"\n\n")
    for count in range(total):
        resource, rebuilt_frames = rebuilt(live(case), cut_frames(case, count), "it is gone")
        body = json.loads(resource)
        assert body["status"] == "failed"
        assert body["error"] == {"code": "server_error", "message": "it is gone"}
        told = list(events(rebuilt_frames))
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        assert told[-1]["response"] == body
        with streaming(rebuilt_frames).responses.stream(model="m", input="hi") as stream:
            stream.until_done()


def test_what_an_orphan_had_said_is_in_its_items() -> None:
    case = next(case for case in CASES if case.name == "reasoning_text_calls")
    resource, _ = rebuilt(live(case), cut_frames(case, 11), "gone")
    reasoning, message = output_items(resource)
    assert reasoning["summary"][0]["text"] == "I should look."
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "Let me ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_response_whose_events_are_whole_is_as_they_say(case: Path) -> None:
    frames, resource = streamed(case)
    assert rebuilt(live(case), frames + b"event: x\ndata: {", "gone") == (resource.rstrip(), frames)


@given(st.binary(max_size=30))
def test_events_that_are_none_are_left_out(junk: bytes) -> None:
    case = next(case for case in CASES if case.name == "text")
    before = cut_frames(case, 5)
    resource, frames = rebuilt(live(case), before + junk.replace(b"\n", b""), "gone")
    assert frames.startswith(before)
    assert json.loads(resource)["output"][0]["content"][0]["text"] == "It is "


def test_frames_that_do_not_follow_are_left_out() -> None:
    case = next(case for case in CASES if case.name == "text")
    whole = streamed(case)[0]
    later = whole[len(cut_frames(case, 3)) :]
    _, frames = rebuilt(live(case), cut_frames(case, 2) + later, "gone")
    assert [event["sequence_number"] for event in events(frames)] == [0, 1, 2]


def test_a_compaction() -> None:
    kept = [{"id": "msg_1", "type": "message"}]
    body = json.loads(compacted("t", 7, kept, "ag1.x", Usage(5, 2)))
    assert (body["id"], body["object"], body["created_at"]) == ("resp_t", "response.compaction", 7)
    assert body["output"] == [
        *kept,
        {"id": "cmp_t", "type": "compaction", "encrypted_content": "ag1.x"},
    ]
    assert body["usage"]["total_tokens"] == 7


def test_a_summary_that_never_became_whole_is_none_of_an_orphans_items() -> None:
    case = next(case for case in CASES if case.name == "compaction")
    frames, _ = streamed(case)
    half = frames[: frames.index(b"event: response.output_item.done")]
    resource, _ = rebuilt(b'{"output":[]}', half, "gone")
    assert output_items(resource) == []


@pytest.mark.parametrize(
    ("name", "count", "part"),
    [
        ("refusal", 11, {"type": "refusal", "refusal": "I cannot "}),
        ("logprobs", 5, {"type": "output_text", "text": "Yes", "annotations": []}),
    ],
)
def test_an_orphans_refusal_and_logprobs_are_kept(
    name: str, count: int, part: dict[str, Any]
) -> None:
    case = next(case for case in CASES if case.name == name)
    resource, _ = rebuilt(live(case), cut_frames(case, count), "gone")
    (said,) = output_items(resource)[-1]["content"]
    assert said | part == said
    if name == "logprobs":
        assert [row["token"] for row in said["logprobs"]] == ["Yes"]
