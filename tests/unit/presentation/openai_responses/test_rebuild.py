"""An orphan's end: what its frames had said, and what making it whole costs."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.presentation.openai_responses import output_items, rebuilt
from appliance.presentation.openai_responses.frames import Frames, delta_head
from tests.unit.presentation.openai_responses.test_golden import CASES, streamed
from tests.unit.presentation.openai_responses.test_sdk import events, streaming


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


def long_frames(pieces: int) -> bytes:
    """Of one message that goes on and on."""
    frames, created = Frames(), {"id": "resp_t", "output": []}
    message = {"id": "msg_t_0", "type": "message", "content": []}
    head = delta_head("response.output_text.delta", output_index=0, content_index=0, logprobs=[])
    opening = frames.event("response.created", response=created)
    opening += frames.event("response.output_item.added", output_index=0, item=message)
    return opening + b"".join(frames.piece(head, " word") for _ in range(pieces))


def test_what_it_costs_grows_as_its_frames_do() -> None:
    """Of eight times the frames some eight times as much; of all that was said so far, again with
    every frame, it would be sixty times."""

    def cpu_s(frames: bytes) -> float:
        begun = time.process_time()
        rebuilt(b'{"output":[]}', frames, "gone")
        return time.process_time() - begun

    few, many = long_frames(2500), long_frames(20_000)
    costs = [(cpu_s(few), cpu_s(many)) for _ in range(3)]
    assert min(much for _, much in costs) < 24 * min(little for little, _ in costs)
    (message,) = output_items(rebuilt(b'{"output":[]}', many, "gone")[0])
    assert message["content"][0]["text"] == " word" * 20_000
