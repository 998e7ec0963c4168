"""The golden cases of both routes; `response.ndjson` is the answer streamed."""

from pathlib import Path

import pytest

from appliance.presentation.ollama import decode_chat, decode_generate
from appliance.presentation.ollama.encode import OllamaEncoder
from tests.unit.presentation.golden import cases, collected, conversation, load, steps
from tests.unit.presentation.ollama.clocks import instants

DECODERS = {"ollama": decode_chat, "ollama_generate": decode_generate}
CASES = [case for surface in DECODERS for case in cases(surface)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_the_conversation_it_says(case: Path) -> None:
    told = load(case / "conversation.json")
    decode = DECODERS[case.parent.name]
    read = conversation(decode((case / "request.json").read_bytes(), {}))
    assert read == {name: value for name, value in told.items() if name != "answer"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_answer_is_what_goes_out_streamed_and_once(case: Path) -> None:
    request = DECODERS[case.parent.name]((case / "request.json").read_bytes(), {})
    deltas = steps(load(case / "conversation.json")["answer"])
    stream = OllamaEncoder(request, instants())
    sent = b"".join(map(stream.delta, deltas)) + stream.end(None)
    assert sent.decode() == (case / "response.ndjson").read_text()
    body = OllamaEncoder(request, instants()).once(collected(deltas), None)
    assert body.decode() == (case / "response.json").read_text().rstrip("\n")
