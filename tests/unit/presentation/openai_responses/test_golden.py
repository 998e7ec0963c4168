"""One case an event sequence.  `ending` in its conversation is how it ends where it does not end
well: `error`, the words of a backend that failed, or `cancelled`.  `sealed` is what an answer that
is a summary goes out as."""

from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import BackendUnavailable
from appliance.domain.responses.record import ResponseRequest
from appliance.presentation.openai_responses import decode, deltas_of, encoder
from appliance.presentation.openai_responses.encode import ResponsesEncoder
from tests.unit.presentation.golden import cases, collected, conversation, load, steps

CASES = cases("openai_responses")
ANSWERS = ("answer", "ending", "sealed")
RESPONSE_ID, CREATED = "resp_0001", 1_700_000_000


def told(request: ResponseRequest) -> dict[str, Any]:
    chat = request.continued(())
    return {**conversation(chat), "dropped": list(chat.dropped)}


def writer(case: Path) -> ResponsesEncoder:
    request = decode((case / "request.json").read_bytes(), {})
    return encoder(request, request.continued(()), RESPONSE_ID, CREATED, lambda: CREATED + 2.5)


def streamed(case: Path) -> tuple[bytes, bytes]:
    """Frames and resource."""
    said = load(case / "conversation.json")
    ending = said.get("ending", {})
    error = BackendUnavailable(ending["error"], backend="a") if "error" in ending else None
    write = writer(case)
    frames = write.queued() if load(case / "request.json").get("background") else b""
    frames += write.opening()
    frames += b"".join(map(write.delta, steps(said["answer"]))) + compacted(write, said)
    frames += write.close(whole="ending" not in said)
    frames += write.terminal(error, cancelled=ending.get("cancelled", False))
    return frames, write.resource()


def compacted(write: ResponsesEncoder, said: dict[str, Any]) -> bytes:
    if "sealed" not in said:
        return b""
    return write.compacting() + write.compacting() + write.compacted(said["sealed"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_the_conversation_it_says(case: Path) -> None:
    said = load(case / "conversation.json")
    read = told(decode((case / "request.json").read_bytes(), {}))
    assert read == {name: v for name, v in said.items() if name not in ANSWERS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_is_these_frames_and_this_resource(case: Path) -> None:
    frames, resource = streamed(case)
    assert frames.decode() == (case / "response.sse").read_text()
    assert resource.decode() == (case / "response.json").read_text().rstrip("\n")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not {"ending", "sealed"} & load(case / "conversation.json").keys()],
    ids=lambda case: case.name,
)
def test_what_is_asked_once_is_the_same_resource(case: Path) -> None:
    answer = collected(steps(load(case / "conversation.json")["answer"]))
    write = writer(case)
    for delta in deltas_of(answer):
        write.delta(delta)
    write.close(whole=True)
    write.terminal()
    assert write.resource().decode() == (case / "response.json").read_text().rstrip("\n")
