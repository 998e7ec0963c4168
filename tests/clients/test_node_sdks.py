"""The openai and anthropic packages for Node, unmodified, against a gateway.

Each script runs once and prints what its SDK understood; the tests read that.
"""

import json
from collections import Counter

import pytest

from tests.clients.printed import Printed, run
from tests.clients.scenarios import CLOCK, SCENARIOS, TEXT, THOUGHTS, WEATHER
from tests.fakes.gateway import GatewayProcess
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend

pytestmark = pytest.mark.timeout(INSTALL_WITHIN_S + 60)  # the first test may have to install


@pytest.fixture(scope="module")
def openai(node: Node, gateway: GatewayProcess, running_backend: ScriptedBackend) -> Printed:
    return run(node, running_backend, "openai_sdk.cjs", f"{gateway.url}/v1")


@pytest.fixture(scope="module")
def anthropic(node: Node, gateway: GatewayProcess, running_backend: ScriptedBackend) -> Printed:
    return run(node, running_backend, "anthropic_sdk.cjs", gateway.url)


def test_openai_once(openai: Printed) -> None:
    found = openai["once"]
    completion = found["completion"]
    assert completion["choices"][0]["message"]["content"] == "".join(TEXT)
    assert completion["usage"]["completion_tokens"] == len(TEXT)
    assert found["requestId"]


def test_openai_stream(openai: Printed) -> None:
    found = openai["stream"]
    assert found["content"] == list(TEXT)
    assert found["completion"]["choices"][0]["message"]["content"] == "".join(TEXT)
    assert found["completion"]["usage"]["completion_tokens"] == len(TEXT)


def test_openai_streamed_tools(openai: Printed) -> None:
    choice = openai["tools"]["completion"]["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = [call["function"] for call in choice["message"]["tool_calls"]]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [
        ("get_weather", WEATHER),
        ("get_time", CLOCK),
    ]


def test_openai_reasoning(openai: Printed) -> None:
    assert openai["thinking"]["content"] == list(TEXT)
    assert openai["thinking"]["reasoning"] == list(THOUGHTS)


def test_openai_tool_runner_comes_back_with_the_result(openai: Printed) -> None:
    assert openai["runTools"] == {
        "content": "It is cold.",
        "roles": ["user", "assistant", "tool", "assistant"],
    }
    _, second = openai.requests["agent"]
    assert second.json["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_weather",
        "content": f"cold in {WEATHER['city']}",
    }


def test_openai_models(openai: Printed) -> None:
    assert set(SCENARIOS) <= set(openai["models"])


def test_openai_errors(openai: Printed) -> None:
    cases = ("refused", "missing", "limited", "fallen")
    assert {name: (openai[name]["class"], openai[name]["status"]) for name in cases} == {
        "refused": ("BadRequestError", 400),
        "missing": ("NotFoundError", 404),
        "limited": ("RateLimitError", 429),
        "fallen": ("InternalServerError", 500),
    }
    assert all(openai[name]["id"] for name in cases)
    assert len(openai.requests["fallen"]) == 1, "x-should-retry: false is honoured"


def test_openai_error_in_the_stream(openai: Printed) -> None:
    assert openai["breaks"]["text"] == "".join(TEXT[:2])
    assert openai["breaks"]["error"]["class"] == "APIError"


def test_anthropic_once(anthropic: Printed) -> None:
    message = anthropic["once"]
    assert [block["text"] for block in message["content"]] == ["".join(TEXT)]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] == len(TEXT)


def test_anthropic_stream(anthropic: Printed) -> None:
    found = anthropic["stream"]
    assert found["heard"]["text"] == list(TEXT)
    assert found["message"]["content"][0]["text"] == "".join(TEXT)
    assert found["message"]["stop_reason"] == "end_turn"
    assert found["message"]["usage"]["output_tokens"] == len(TEXT)
    assert found["requestId"]


def test_anthropic_streamed_tools(anthropic: Printed) -> None:
    found = anthropic["tools"]
    assert found["message"]["stop_reason"] == "tool_use"
    assert found["heard"]["contentBlock"] == ["text", "tool_use", "tool_use"]
    assert found["heard"]["inputJson"] >= 2
    calls = [block for block in found["message"]["content"] if block["type"] == "tool_use"]
    assert [(call["name"], call["input"]) for call in calls] == [
        ("get_weather", WEATHER),
        ("get_time", CLOCK),
    ]


def test_anthropic_thinking_survives_the_round_trip(anthropic: Printed) -> None:
    first, second = anthropic["thinking"]["first"], anthropic["thinking"]["second"]
    assert first["heard"]["thinking"] == list(THOUGHTS)
    assert len(first["heard"]["signature"]) == 1
    assert [block["type"] for block in first["message"]["content"]] == ["thinking", "tool_use"]
    assert second["message"]["content"][-1]["text"] == "It is cold."
    (sent,) = anthropic.requests["after-tools"]
    assert sent.json["messages"][1]["reasoning_content"] == "".join(THOUGHTS)


def test_anthropic_counts_tokens(anthropic: Printed) -> None:
    assert set(anthropic["countTokens"]) - {"_request_id"} == {"input_tokens"}
    assert anthropic["countTokens"]["input_tokens"] > 0


def test_anthropic_models(anthropic: Printed) -> None:
    assert set(SCENARIOS) <= {model["id"] for model in anthropic["models"]}
    assert Counter(model["type"] for model in anthropic["models"]).keys() == {"model"}


def test_anthropic_errors(anthropic: Printed) -> None:
    cases = ("refused", "missing", "limited", "fallen")
    found = {n: [anthropic[n][key] for key in ("class", "status", "type")] for n in cases}
    assert found == {
        "refused": ["BadRequestError", 400, "invalid_request_error"],
        "missing": ["NotFoundError", 404, "not_found_error"],
        "limited": ["RateLimitError", 429, "rate_limit_error"],
        "fallen": ["InternalServerError", 500, "api_error"],
    }
    assert all(anthropic[name]["id"] for name in cases)
    assert len(anthropic.requests["fallen"]) == 1, "x-should-retry: false is honoured"


def test_anthropic_error_in_the_stream(anthropic: Printed) -> None:
    assert anthropic["breaks"]["text"] == "".join(TEXT[:2])
    assert anthropic["breaks"]["error"]["type"] == "api_error"
