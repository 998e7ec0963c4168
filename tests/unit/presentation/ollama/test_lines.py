"""Lines that are no step of an answer, and the times in all of them."""

import json
from datetime import datetime
from itertools import count

import pytest

from appliance.domain.conversation.request import ChatRequest
from appliance.presentation.errors import ErrorView
from appliance.presentation.ollama import decode_chat, decode_generate, error, keep_alive, loaded
from appliance.presentation.ollama.instants import Instants


@pytest.mark.parametrize("keep", [0, 0.0, "0", "0s", "0m0s"])
def test_a_model_that_is_not_to_be_kept_is_unloaded(keep: object) -> None:
    body = json.dumps({"model": "m", "keep_alive": keep}).encode()
    assert json.loads(loaded(decode_chat(body, {}), "m"))["done_reason"] == "unload"


@pytest.mark.parametrize("keep", [None, -1, 5, "5m", "10s", "-1", ""])
def test_any_other_is_loaded(keep: object) -> None:
    body = json.dumps({"model": "m", "keep_alive": keep}).encode()
    told = json.loads(loaded(decode_generate(body, {}), "m"))
    assert (told["response"], told["done"], told["done_reason"]) == ("", True, "load")


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ("ollama", {"message": {"role": "assistant", "content": ""}}),
        ("ollama_generate", {"response": ""}),
    ],
)
def test_what_keeps_a_stream_alive_is_a_legal_line_that_says_nothing(
    dialect: str, said: dict[str, object]
) -> None:
    line = keep_alive(ChatRequest("m", (), dialect=dialect), 'a "model"')
    assert line.endswith(b"}\n")
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("created_at")).tzinfo
    assert told == {"model": 'a "model"', "done": False, **said}


def test_an_unknown_model_is_told_in_ollamas_words() -> None:
    view = ErrorView(404, "The model 'x' does not exist: nobody serves it.", "not_found_error")
    assert json.loads(error(view)) == {"error": "model 'x' not found: nobody serves it."}


def test_a_stamp_is_rfc_3339_with_nanoseconds_and_crosses_seconds() -> None:
    looks = count(step=400_000_000)
    instants = Instants(lambda: 1_700_000_000_000_000_001, lambda: next(looks))
    assert [instants.stamp() for _ in range(3)] == [
        b"2023-11-14T22:13:20.400000001Z",
        b"2023-11-14T22:13:20.800000001Z",
        b"2023-11-14T22:13:21.200000001Z",
    ]
    assert instants.elapsed_ns() == 1_600_000_000


def test_no_time_at_all_is_a_nanosecond() -> None:
    assert Instants(lambda: 0, lambda: 5).elapsed_ns() == 1
