"""The openai package for Python, unmodified, against a gateway before a scripted backend."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.clients.scenarios import CLOCK, PIXEL, RECORD, REFUSAL, TEXT, THOUGHTS, WEATHER
from tests.fakes.answers import chat, reply_json, sse
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend

IMAGE = f"data:image/png;base64,{PIXEL}"


class Weather(BaseModel):
    city: str
    degrees: int


def function(name: str, *fields: str) -> Any:
    """A strict tool with string parameters."""
    schema = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}


TOOLS = [function("get_weather", "city", "unit"), function("get_time", "zone")]


def ask(text: str = "How is Tromsø?") -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def sdk(gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_a_stream_with_tools_accumulates(sdk: openai.OpenAI, backend: ScriptedBackend) -> None:
    with sdk.chat.completions.stream(model="tools", messages=ask(), tools=TOOLS) as stream:
        events = list(stream)
        completion = stream.get_final_completion()
    done = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert [(e.name, e.parsed_arguments) for e in done] == [
        ("get_weather", WEATHER),
        ("get_time", CLOCK),
    ]
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look."
    assert [call.id for call in choice.message.tool_calls or ()] == ["call_weather", "call_clock"]
    assert backend.requests[0].json["tools"] == TOOLS


def test_tool_results_go_back_to_the_backend_as_they_are(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    asked = sdk.chat.completions.create(model="tools", messages=ask(), tools=TOOLS)
    message = asked.choices[0].message
    assert message.tool_calls
    assert asked.choices[0].finish_reason == "tool_calls"
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.id}"}
        for call in message.tool_calls
    ]
    history: list[Any] = [*ask(), message, *results]
    sdk.chat.completions.create(model="plain", messages=history, tools=TOOLS, tool_choice="auto")
    sent = backend.requests[1].json
    assert sent["messages"][2:] == results
    assert [call["id"] for call in sent["messages"][1]["tool_calls"]] == [
        "call_weather",
        "call_clock",
    ]
    assert sent["tool_choice"] == "auto"


def test_a_response_format_is_carried_and_parsed(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    parsed = sdk.chat.completions.parse(model="record", messages=ask(), response_format=Weather)
    assert parsed.choices[0].message.parsed == Weather(**RECORD)
    with sdk.chat.completions.stream(
        model="record", messages=ask(), response_format=Weather
    ) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.parsed == Weather(**RECORD)
    for request in backend.requests:
        assert request.json["response_format"]["type"] == "json_schema"
        assert request.json["response_format"]["json_schema"]["name"] == "Weather"


def test_an_image_reaches_the_backend(sdk: openai.OpenAI, backend: ScriptedBackend) -> None:
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
    ]
    messages: list[Any] = [{"role": "user", "content": content}]
    answer = sdk.chat.completions.create(model="plain", messages=messages)
    assert answer.choices[0].message.content == "".join(TEXT)
    assert backend.requests[0].json["messages"] == messages


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_there_under_both_names(
    sdk: openai.OpenAI, backend: ScriptedBackend, field: str
) -> None:
    once = sdk.chat.completions.create(model="thinking", messages=ask())
    assert getattr(once.choices[0].message, field) == "".join(THOUGHTS)
    chunks = list(sdk.chat.completions.create(model="thinking", messages=ask(), stream=True))
    steps = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(getattr(step, field, None) or "" for step in steps) == "".join(THOUGHTS)
    assert "".join(step.content or "" for step in steps) == "".join(TEXT)


def test_reasoning_in_the_history_reaches_the_backend(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    once = sdk.chat.completions.create(model="thinking", messages=ask())
    history: list[Any] = [*ask(), once.choices[0].message, *ask("And now?")]
    sdk.chat.completions.create(model="plain", messages=history)
    assert backend.requests[1].json["messages"][1]["reasoning_content"] == "".join(THOUGHTS)


def test_parameters_and_unknown_fields_are_carried(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    wanted: dict[str, Any] = {"seed": 7, "stop": ["END", "FIN"], "temperature": 0.2, "n": 1}
    sdk.chat.completions.create(
        model="plain", messages=ask(), extra_body={"repetition_penalty": 1.1}, **wanted
    )
    sent = backend.requests[0].json
    assert wanted.items() <= sent.items()
    assert sent["repetition_penalty"] == 1.1


def test_two_choices_and_logprobs_come_through(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    logprobs = {
        "content": [{"token": "Yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}],
        "refusal": None,
    }
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text},
            "logprobs": logprobs,
            "finish_reason": "stop",
        }
        for index, text in enumerate(("Yes", "No"))
    ]
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    backend.queue(reply_json(200, body))
    answer = sdk.chat.completions.create(model="plain", messages=ask(), n=2, logprobs=True)
    assert [choice.message.content for choice in answer.choices] == ["Yes", "No"]
    assert [c.logprobs.content[0].token for c in answer.choices if c.logprobs] == ["Yes", "Yes"]  # type: ignore[index]


def test_logprobs_of_a_parsed_stream_come_once_each(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="thinking", messages=ask(), stream=True, logprobs=True, top_logprobs=1
    )
    told = [c.choices[0].logprobs for c in stream if c.choices]
    tokens = [row.token for logprobs in told if logprobs for row in logprobs.content or ()]
    assert tokens == [*THOUGHTS, *TEXT]


def test_a_refusal_goes_back_as_what_was_said(sdk: openai.OpenAI, backend: ScriptedBackend) -> None:
    first = sdk.chat.completions.create(model="unwilling", messages=ask())
    message = first.choices[0].message
    assert (message.content, message.refusal) == (None, "".join(REFUSAL))
    history: Any = [*ask(), message, *ask("Why?")]
    sdk.chat.completions.create(model="plain", messages=history)
    turn = backend.requests[1].json["messages"][1]
    assert (turn["content"], "refusal" in turn) == ("".join(REFUSAL), False)


def test_a_stream_ends_with_usage_only_for_a_client_that_asked(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    def chunks(**more: Any) -> list[ChatCompletionChunk]:
        return list(sdk.chat.completions.create(model="plain", messages=ask(), stream=True, **more))

    asked = chunks(stream_options={"include_usage": True})
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.completion_tokens == len(TEXT)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks())


def test_text_completions_once_and_streamed(sdk: openai.OpenAI, backend: ScriptedBackend) -> None:
    def choice(text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "plain"}
    chunks = [
        head | {"choices": [choice(*c)]} for c in ((" a", None), (" + b", None), ("", "stop"))
    ]
    backend.queue(
        reply_json(200, head | {"choices": [choice(" a + b", "stop")]}),
        sse(*(json.dumps(chunk) for chunk in chunks)),
    )
    prompt = "def add(a, b):\n    return"
    once = sdk.completions.create(model="plain", prompt=prompt, suffix="\n", max_tokens=8)
    assert once.choices[0].text == " a + b"
    assert once.choices[0].finish_reason == "stop"
    streamed = list(sdk.completions.create(model="plain", prompt=prompt, stream=True))
    assert "".join(c.choices[0].text for c in streamed if c.choices) == " a + b"
    first = backend.requests[0]
    assert first.path == "/v1/completions"
    assert (first.json["prompt"], first.json["suffix"]) == (prompt, "\n")


@pytest.mark.parametrize(
    ("model", "error", "status", "tries"),
    [
        ("refused", openai.BadRequestError, 400, 1),
        ("too-long", openai.BadRequestError, 400, 1),
        ("nothing", openai.NotFoundError, 404, 0),
        ("limited", openai.RateLimitError, 429, 1),
        ("fallen", openai.InternalServerError, 500, 1),
        ("loading", openai.InternalServerError, 503, 2),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_classes_of_the_sdk(
    sdk: openai.OpenAI,
    backend: ScriptedBackend,
    model: str,
    error: type[openai.APIStatusError],
    status: int,
    tries: int,
    stream: bool,
) -> None:
    with pytest.raises(error) as refused:
        sdk.chat.completions.create(model=model, messages=ask(), stream=stream)
    assert refused.value.status_code == status
    assert refused.value.message
    assert refused.value.request_id
    assert len(backend.requests) == tries  # by the gateway, which asks again where that may help


def test_an_error_in_the_stream_is_raised_after_what_came(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    stream = sdk.chat.completions.create(model="breaks", messages=ask(), stream=True)
    got: list[str] = []
    with pytest.raises(openai.APIError, match="out of memory"):
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(got) == "".join(TEXT[:2])


def test_the_sdk_tries_again_only_where_the_gateway_says_so(
    sdk: openai.OpenAI, backend: ScriptedBackend
) -> None:
    patient = sdk.with_options(max_retries=1)
    with pytest.raises(openai.InternalServerError):
        patient.chat.completions.create(model="fallen", messages=ask())
    assert len(backend.requests) == 1
    backend.forget()
    with pytest.raises(openai.RateLimitError):
        patient.chat.completions.create(model="limited", messages=ask())
    assert len(backend.requests) == 2


def test_an_answer_of_one_word_is_not_lost(sdk: openai.OpenAI, backend: ScriptedBackend) -> None:
    backend.queue(chat("Yes"))
    with sdk.chat.completions.stream(model="plain", messages=ask()) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Yes"
