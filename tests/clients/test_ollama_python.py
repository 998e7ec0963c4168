"""The ollama package for Python, unmodified, against a gateway before a scripted backend."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.clients.scenarios import CLOCK, PIXEL, RECORD, SCENARIOS, TEXT, THOUGHTS, WEATHER
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend

WHOLE = "".join(TEXT)
NANOSECONDS_OF_A_MINUTE = 60_000_000_000


def get_weather(city: str, unit: str) -> str:
    """The weather.

    Args:
      city: Where.
      unit: Of the temperature.
    """
    return f"result of get_weather in {city}, {unit}"


def get_time(zone: str) -> str:
    """The time.

    Args:
      zone: Where.
    """
    return f"result of get_time in {zone}"


TOOLS = {"get_weather": get_weather, "get_time": get_time}


def ask(text: str = "How is Tromsø?") -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def sdk(gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[ollama.Client]:
    with ollama.Client(host=gateway.url, timeout=60) as client:
        yield client


def test_models_are_listed_shown_and_running(sdk: ollama.Client) -> None:
    listed = {(model.model or "").removesuffix(":latest") for model in sdk.list().models}
    assert set(SCENARIOS) <= listed
    shown = sdk.show("plain")
    assert "completion" in (shown.capabilities or ())
    assert shown.details
    assert isinstance(sdk.ps().models, list)


def test_a_model_that_is_there_is_pulled_at_once(sdk: ollama.Client) -> None:
    assert sdk.pull("plain").status == "success"
    assert [step.status for step in sdk.pull("plain:latest", stream=True)] == ["success"]
    with pytest.raises(ollama.ResponseError, match="managed on the backends"):
        sdk.pull("nope")


@pytest.mark.parametrize("name", ["plain", "plain:latest"])
def test_a_name_goes_with_and_without_its_tag(sdk: ollama.Client, name: str) -> None:
    answer = sdk.chat(model=name, messages=ask())
    assert answer.message.content == WHOLE


def test_once(sdk: ollama.Client, backend: ScriptedBackend) -> None:
    options = {"temperature": 0.5, "num_predict": 50, "stop": ["x"], "seed": 7, "top_p": 0.9}
    answer = sdk.chat(model="plain", messages=ask(), options=options, keep_alive="5m")
    assert (answer.message.content, answer.done, answer.done_reason) == (WHOLE, True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (7, len(TEXT))
    assert 0 < (answer.total_duration or 0) < NANOSECONDS_OF_A_MINUTE
    sent = backend.requests[0].json
    told = {key: sent[key] for key in ("temperature", "max_tokens", "stop", "seed", "top_p")}
    assert told == {
        "temperature": 0.5,
        "max_tokens": 50,
        "stop": ["x"],
        "seed": 7,
        "top_p": 0.9,
    }
    assert not sent.keys() & {"options", "keep_alive"}, "Ollama's own words"


def test_a_stream(sdk: ollama.Client) -> None:
    parts = list(sdk.chat(model="plain", messages=ask(), stream=True))
    assert [part.message.content for part in parts if part.message.content] == list(TEXT)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == len(TEXT)


async def test_a_stream_of_the_asynchronous_client(
    gateway: GatewayProcess, backend: ScriptedBackend
) -> None:
    async with ollama.AsyncClient(host=gateway.url, timeout=60) as client:
        stream = await client.chat(model="plain", messages=ask(), stream=True)
        assert "".join([part.message.content or "" async for part in stream]) == WHOLE


@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_tools_are_called_and_their_results_go_back(
    sdk: ollama.Client, backend: ScriptedBackend, stream: bool
) -> None:
    """Functions as the SDK turns them into tools; its calls have no ids."""
    tools = list(TOOLS.values())
    asked = sdk.chat(model="tools", messages=ask(), tools=tools, stream=stream)
    parts = list(asked) if stream else [asked]
    calls = [call.function for part in parts for call in part.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in calls] == [
        ("get_weather", WEATHER),
        ("get_time", CLOCK),
    ]
    history = [*ask(), *(p.message for p in parts if p.message.content or p.message.tool_calls)]
    history += [
        {"role": "tool", "tool_name": c.name, "content": TOOLS[c.name](**c.arguments)}
        for c in calls
    ]
    assert sdk.chat(model="plain", messages=history, tools=tools).message.content == WHOLE
    first, second = backend.requests
    assert {tool["function"]["name"] for tool in first.json["tools"]} == set(TOOLS)
    messages = second.json["messages"]
    ids = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    results = [m for m in messages if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in results] == ids
    assert [m["content"][:18] for m in results] == ["result of get_weat", "result of get_time"]


@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_thinking_comes_apart_and_goes_back(
    sdk: ollama.Client, backend: ScriptedBackend, stream: bool
) -> None:
    asked = sdk.chat(model="thinking", messages=ask(), think=True, stream=stream)
    parts = list(asked) if stream else [asked]
    assert "".join(part.message.thinking or "" for part in parts) == "".join(THOUGHTS)
    assert "".join(part.message.content or "" for part in parts) == WHOLE


def test_an_image_reaches_the_backend(sdk: ollama.Client, backend: ScriptedBackend) -> None:
    """The wire does not say of what type it is; the picture does."""
    picture = {"role": "user", "content": "What is it?", "images": [base64.b64decode(PIXEL)]}
    assert sdk.chat(model="plain", messages=[picture]).message.content == WHOLE
    text, image = backend.requests[0].json["messages"][0]["content"]
    assert text["text"] == "What is it?"
    assert image["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


@pytest.mark.parametrize("form", ["json", {"type": "object"}], ids=["json", "schema"])
def test_a_format_is_carried(sdk: ollama.Client, backend: ScriptedBackend, form: Any) -> None:
    answer = sdk.chat(model="record", messages=ask(), format=form)
    assert json.loads(answer.message.content or "") == RECORD
    asked = backend.requests[0].json["response_format"]
    assert asked["type"] == ("json_object" if form == "json" else "json_schema")


def test_generate(sdk: ollama.Client, backend: ScriptedBackend) -> None:
    answer = sdk.generate(
        model="plain", prompt="What is it?", system="Be brief.", images=[base64.b64decode(PIXEL)]
    )
    assert (answer.response, answer.done, answer.eval_count) == (WHOLE, True, len(TEXT))
    parts = list(sdk.generate(model="thinking", prompt="Hello", stream=True, think=True))
    assert "".join(part.response or "" for part in parts) == WHOLE
    assert "".join(part.thinking or "" for part in parts) == "".join(THOUGHTS)
    sent = backend.requests[0].json["messages"]
    assert [message["role"] for message in sent] == ["system", "user"]
    assert sent[1]["content"][1]["image_url"]["url"].endswith(PIXEL)


def test_an_empty_prompt_loads_the_model(sdk: ollama.Client, backend: ScriptedBackend) -> None:
    assert sdk.generate(model="plain", prompt="").done_reason == "load"
    assert sdk.chat(model="plain", messages=[]).done_reason == "load"


def test_embeddings(sdk: ollama.Client) -> None:
    found = sdk.embed(model="vectors", input=["one", "two"])
    assert len(found.embeddings) == 2
    assert len(sdk.embed(model="vectors", input="one").embeddings) == 1
    alone = sdk.embeddings(model="vectors", prompt="one")
    assert list(alone.embedding) == pytest.approx(list(found.embeddings[0]), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("refused", 400, "top_q"),
        ("nothing", 404, "nothing"),
        ("limited", 429, ""),
        ("fallen", 500, "fell over"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_errors(sdk: ollama.Client, model: str, status: int, words: str, stream: bool) -> None:
    with pytest.raises(ollama.ResponseError) as raised:
        list(sdk.chat(model=model, messages=ask(), stream=stream))
    assert raised.value.status_code == status
    assert words in raised.value.error


def test_an_error_in_the_stream(sdk: ollama.Client) -> None:
    heard: list[str] = []
    with pytest.raises(ollama.ResponseError, match="out of memory"):
        heard.extend(
            part.message.content or ""
            for part in sdk.chat(model="breaks", messages=ask(), stream=True)
        )
    assert "".join(heard) == "".join(TEXT[:2])
