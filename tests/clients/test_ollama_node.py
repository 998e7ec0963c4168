"""The ollama package for JavaScript, unmodified, against a gateway."""

import json

import pytest

from tests.clients.printed import Printed, run
from tests.clients.scenarios import CLOCK, PIXEL, RECORD, SCENARIOS, TEXT, THOUGHTS, WEATHER
from tests.fakes.gateway import GatewayProcess
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend

pytestmark = pytest.mark.timeout(INSTALL_WITHIN_S + 60)  # the first test may have to install
WHOLE = "".join(TEXT)


@pytest.fixture(scope="module")
def printed(node: Node, gateway: GatewayProcess, running_backend: ScriptedBackend) -> Printed:
    return run(node, running_backend, "ollama_sdk.cjs", gateway.url, PIXEL)


def test_what_is_there(printed: Printed) -> None:
    assert printed["version"]["version"]
    names = {model["model"].removesuffix(":latest") for model in printed["list"]["models"]}
    assert set(SCENARIOS) <= names
    assert "completion" in printed["show"]["capabilities"]
    assert isinstance(printed["ps"]["models"], list)


def test_once(printed: Printed) -> None:
    answer = printed["once"]
    assert answer["message"] == {"role": "assistant", "content": WHOLE}
    assert (answer["done"], answer["done_reason"]) == (True, "stop")
    assert (answer["prompt_eval_count"], answer["eval_count"]) == (7, len(TEXT))
    assert printed.requests["plain"][0].json["max_tokens"] == 50


def test_a_stream(printed: Printed) -> None:
    parts = printed["stream"]
    assert [part["message"]["content"] for part in parts if part["message"]["content"]] == list(
        TEXT
    )
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]


def test_results_without_ids_go_back_to_their_calls(printed: Printed) -> None:
    calls = [call["function"] for call in printed["tools"]["turn"]["tool_calls"]]
    assert [(call["name"], call["arguments"]) for call in calls] == [
        ("get_weather", WEATHER),
        ("get_time", CLOCK),
    ]
    assert printed["tools"]["answer"]["message"]["content"] == "It is cold."
    (sent,) = printed.requests["after-tools"]
    _, turn, *results = sent.json["messages"]
    ids = [call["id"] for call in turn["tool_calls"]]
    assert [(m["tool_call_id"], m["content"]) for m in results] == [
        (ids[0], "result of get_weather"),
        (ids[1], "result of get_time"),
    ]


def test_thinking_comes_apart(printed: Printed) -> None:
    messages = [part["message"] for part in printed["thinking"]]
    assert "".join(m.get("thinking") or "" for m in messages) == "".join(THOUGHTS)
    assert "".join(m["content"] for m in messages) == WHOLE


def test_an_image_reaches_the_backend(printed: Printed) -> None:
    assert printed["image"]["message"]["content"] == WHOLE
    sent = printed.requests["plain"][2].json["messages"][0]["content"]
    assert sent[1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


def test_a_format_is_carried(printed: Printed) -> None:
    assert json.loads(printed["format"]["message"]["content"]) == RECORD
    (sent,) = printed.requests["record"]
    assert sent.json["response_format"]["type"] == "json_schema"


def test_generate(printed: Printed) -> None:
    assert (printed["generate"]["response"], printed["generate"]["done"]) == (WHOLE, True)
    assert "".join(part["response"] for part in printed["generateStream"]) == WHOLE


def test_embeddings(printed: Printed) -> None:
    assert len(printed["embed"]["embeddings"]) == 2
    assert printed["embeddings"]["embedding"]


def test_errors(printed: Printed) -> None:
    cases = ("refused", "missing", "limited", "fallen")
    found = {name: (printed[name]["name"], printed[name]["status"]) for name in cases}
    assert found == {
        "refused": ("ResponseError", 400),
        "missing": ("ResponseError", 404),
        "limited": ("ResponseError", 429),
        "fallen": ("ResponseError", 500),
    }
    assert "top_q" in printed["refused"]["message"]


def test_an_error_in_the_stream(printed: Printed) -> None:
    assert "out of memory" in printed["breaks"]["message"]
