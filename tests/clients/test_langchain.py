"""LangChain, unmodified, once on Responses and once on Ollama: the same conversation with each."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

from tests.clients.scenarios import TEXT, WEATHER
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend

Make = Callable[[str], BaseChatModel]
ASKED = [SystemMessage("Be brief."), HumanMessage("How is Tromsø?")]


@tool
def get_weather(city: str, unit: str) -> str:
    """The weather."""
    return f"cold in {city}"


@tool
def get_time(zone: str) -> str:
    """The time."""
    return f"noon in {zone}"


TOOLS = {"get_weather": get_weather, "get_time": get_time}


@pytest.fixture(params=["responses", "ollama"])
def make(request: pytest.FixtureRequest, backend: ScriptedBackend) -> Make:
    """A chat model by its name."""
    if request.param == "responses":
        gateway: GatewayProcess = request.getfixturevalue("storing_gateway")
        return lambda model: ChatOpenAI(
            model=model,
            base_url=f"{gateway.url}/v1",
            api_key="unused",  # type: ignore[arg-type]
            max_retries=0,
            use_responses_api=True,
            use_previous_response_id=True,
        )
    plain: GatewayProcess = request.getfixturevalue("gateway")
    return lambda model: ChatOllama(model=model, base_url=plain.url)


def test_it_answers_once_and_streamed(make: Make) -> None:
    model = make("plain")
    once = model.invoke(ASKED)
    assert once.text == "".join(TEXT)
    chunks = list(model.stream(ASKED))
    assert [chunk.text for chunk in chunks if chunk.text] == list(TEXT)
    whole = sum(chunks[1:], start=chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert once.usage_metadata
    assert whole.usage_metadata
    for usage in (once.usage_metadata, whole.usage_metadata):
        assert (usage["input_tokens"], usage["output_tokens"]) == (7, len(TEXT))


def test_it_calls_tools_and_hands_in_their_results(make: Make, backend: ScriptedBackend) -> None:
    tools = list(TOOLS.values())
    said: Any = make("tools").bind_tools(tools).invoke(ASKED)
    assert [call["name"] for call in said.tool_calls] == list(TOOLS)
    assert said.tool_calls[0]["args"] == WEATHER
    results = [
        ToolMessage(TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"])
        for call in said.tool_calls
    ]
    history = [*ASKED, said, *results]
    assert make("plain").bind_tools(tools).invoke(history).text == "".join(TEXT)
    first, second = backend.requests
    assert {t["function"]["name"] for t in first.json["tools"]} == set(TOOLS)
    messages = second.json["messages"]
    turn = next(message for message in messages if message["role"] == "assistant")
    ids = [call["id"] for call in turn["tool_calls"]]
    told = [m for m in messages if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in told] == ids
    assert [m["content"] for m in told] == ["cold in Tromsø", "noon in Europe/Oslo"]
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == WEATHER
