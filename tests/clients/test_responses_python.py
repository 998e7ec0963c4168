"""The openai package for Python on Responses, unmodified, against a gateway that stores them."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.scenarios import PIXEL, RECORD, REFUSAL, TEXT, THOUGHTS, WEATHER
from tests.fakes.answers import chat
from tests.fakes.scripted_backend import ScriptedBackend

WHOLE = "".join(TEXT)


class Weather(BaseModel):
    city: str
    degrees: int


def function(name: str, *fields: str) -> Any:
    """A strict tool with string parameters; flat, as this wire has it."""
    schema = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "parameters": schema, "strict": True}


TOOLS = [function("get_weather", "city", "unit"), function("get_time", "zone")]


def test_once(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    answer = api.responses.create(
        model="plain", instructions="Be brief.", input="Hello", max_output_tokens=50
    )
    assert (answer.output_text, answer.status, answer.store) == (WHOLE, "completed", True)
    assert answer.usage
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, len(TEXT))
    assert answer.max_output_tokens == 50
    assert answer._request_id
    sent = backend.requests[0].json
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert sent["max_tokens"] == 50


def test_a_stream_accumulates(api: openai.OpenAI) -> None:
    with api.responses.stream(model="plain", input="Hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [e.delta for e in events if e.type == "response.output_text.delta"] == list(TEXT)
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert (final.output_text, final.status) == (WHOLE, "completed")
    assert final.usage
    assert final.usage.output_tokens == len(TEXT)


def test_a_streamed_call_is_parsed_and_its_result_continues(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    with api.responses.stream(model="tools", input="How is Tromsø?", tools=TOOLS) as stream:
        stream.until_done()
        first = stream.get_final_response()
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(c.name, c.call_id) for c in calls] == [
        ("get_weather", "call_weather"),
        ("get_time", "call_clock"),
    ]
    assert calls[0].parsed_arguments == WEATHER
    outputs: Any = [
        {"type": "function_call_output", "call_id": c.call_id, "output": f"result of {c.call_id}"}
        for c in calls
    ]
    second = api.responses.create(
        model="plain", input=outputs, previous_response_id=first.id, tools=TOOLS
    )
    assert (second.output_text, second.previous_response_id) == (WHOLE, first.id)
    _, sent = backend.requests
    asked, turn, *results = sent.json["messages"]
    assert asked["content"] == "How is Tromsø?"
    assert turn["content"] == "Let me look."
    assert [c["id"] for c in turn["tool_calls"]] == ["call_weather", "call_clock"]
    assert [m["content"] for m in results] == ["result of call_weather", "result of call_clock"]
    assert [tool["function"]["name"] for tool in sent.json["tools"]] == ["get_weather", "get_time"]


def test_instructions_are_not_inherited(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    first = api.responses.create(model="plain", input="One", instructions="Rhyme.")
    api.responses.create(model="plain", input="Two", previous_response_id=first.id)
    assert "Rhyme." in backend.requests[0].body.decode()
    sent = backend.requests[1].json["messages"]
    assert [(m["role"], m["content"]) for m in sent] == [
        ("user", "One"),
        ("assistant", WHOLE),
        ("user", "Two"),
    ]


def test_a_text_format_is_carried_and_parsed(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    parsed = api.responses.parse(model="record", input="Oslo?", text_format=Weather)
    assert parsed.output_parsed == Weather(**RECORD)
    with api.responses.stream(model="record", input="Oslo?", text_format=Weather) as stream:
        stream.until_done()
        assert stream.get_final_response().output_parsed == Weather(**RECORD)
    for request in backend.requests:
        assert request.json["response_format"]["type"] == "json_schema"
        assert request.json["response_format"]["json_schema"]["name"] == "Weather"


def test_reasoning_comes_apart_and_goes_back(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    """Kept by the client here, as one that stores nothing does."""
    first = api.responses.create(
        model="thinking-tools",
        input="How is Tromsø?",
        tools=TOOLS,
        store=False,
        include=["reasoning.encrypted_content"],
    )
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    assert first.output[0].encrypted_content
    history: Any = [{"role": "user", "content": "How is Tromsø?"}, *first.output]
    history += [{"type": "function_call_output", "call_id": "call_weather", "output": "cold"}]
    api.responses.create(model="plain", input=history, store=False, tools=TOOLS)
    turn = backend.requests[1].json["messages"][1]
    assert turn["reasoning_content"] == "".join(THOUGHTS)
    assert turn["tool_calls"][0]["id"] == "call_weather"


def test_a_refusal_is_one_and_goes_back_as_what_was_said(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    with api.responses.stream(model="unwilling", input="Hello", text_format=Weather) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [e.delta for e in events if e.type == "response.refusal.delta"] == list(REFUSAL)
    once = api.responses.create(model="unwilling", input="Hello")
    for answer in (final, once, api.responses.retrieve(final.id)):
        (message,) = answer.output
        assert message.type == "message"
        (part,) = message.content
        assert part.type == "refusal"
        assert (part.refusal, answer.status) == ("".join(REFUSAL), "completed")
    replayed = list(api.responses.retrieve(final.id, stream=True))
    assert [event.type for event in replayed] == [event.type for event in events]
    api.responses.create(model="plain", input="Why?", previous_response_id=final.id)
    turn = backend.requests[-1].json["messages"][1]
    assert turn == {"role": "assistant", "content": "".join(REFUSAL)}


def test_logprobs_are_those_of_the_text(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    wanted: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    with api.responses.stream(model="thinking", input="Hello", **wanted) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [e for e in events if e.type == "response.output_text.delta"]
    assert [[row.token for row in e.logprobs] for e in deltas] == [[token] for token in TEXT]
    once = api.responses.create(model="thinking", input="Hello", **wanted)
    for answer in (final, once, api.responses.retrieve(final.id)):
        message = answer.output[-1]
        assert message.type == "message"
        (part,) = message.content
        assert part.type == "output_text"
        assert part.logprobs
        assert [row.token for row in part.logprobs] == list(TEXT)
        assert {(row.logprob, len(row.top_logprobs)) for row in part.logprobs} == {(-0.5, 2)}
        assert answer.top_logprobs == 2
    for request in backend.requests:
        assert (request.json["logprobs"], request.json["top_logprobs"]) == (True, 2)


def test_input_tokens_are_counted_with_what_is_continued(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    first = api.responses.create(model="plain", input="Hello " * 200)
    alone = api.responses.input_tokens.count(model="plain", input="Go on.")
    after = api.responses.input_tokens.count(
        model="plain", input="Go on.", previous_response_id=first.id, tools=TOOLS
    )
    assert alone.object == "response.input_tokens"
    assert 0 < alone.input_tokens < 50
    assert after.input_tokens > alone.input_tokens + 300
    raw = api.responses.input_tokens.with_raw_response.count(model="plain", input="Go on.")
    assert raw.headers["x-token-count"] == "estimate"
    asked = [r for r in backend.requests if r.path.endswith("/chat/completions")]
    assert len(asked) == 1  # for the first response
    with pytest.raises(openai.NotFoundError):
        api.responses.input_tokens.count(model="nothing", input="Go on.")
    with pytest.raises(openai.NotFoundError):
        api.responses.input_tokens.count(
            model="plain", input="Go on.", previous_response_id="resp_unknown"
        )


def test_an_image_reaches_the_backend(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": url, "detail": "low"},
    ]
    asked: Any = [{"role": "user", "content": content}]
    assert api.responses.create(model="plain", input=asked).output_text == WHOLE
    _, image = backend.requests[0].json["messages"][0]["content"]
    assert image["image_url"]["url"] == url


def test_a_cut_answer_says_why(api: openai.OpenAI, backend: ScriptedBackend) -> None:
    backend.queue(chat(TEXT, finish_reason="length"))
    with api.responses.stream(model="plain", input="Hello", max_output_tokens=16) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output_text == WHOLE


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("refused", openai.BadRequestError),
        ("too-long", openai.BadRequestError),
        ("nothing", openai.NotFoundError),
        ("limited", openai.RateLimitError),
        ("fallen", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["once", "stream"])
def test_errors(
    api: openai.OpenAI, model: str, kind: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind) as raised:
        api.responses.create(model=model, input="Hello", stream=stream)
    assert raised.value.request_id


def test_a_stream_that_breaks_ends_as_failed_and_is_kept(api: openai.OpenAI) -> None:
    events = list(api.responses.create(model="breaks", input="Hello", stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error
    assert "out of memory" in last.response.error.message
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "".join(
        TEXT[:2]
    )
    kept = api.responses.retrieve(last.response.id)
    assert (kept.status, kept.output_text) == ("failed", "".join(TEXT[:2]))


def test_every_field_the_sdk_knows_is_understood(api: openai.OpenAI) -> None:
    """Those that no local server has are no errors."""
    answer = api.responses.create(
        model="plain",
        input="Hello",
        temperature=0.5,
        top_p=0.9,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low"},
        metadata={"order": "7"},
        parallel_tool_calls=False,
        prompt_cache_key="k",
        safety_identifier="s",
        service_tier="auto",
        truncation="auto",
        tools=[{"type": "web_search"}, *TOOLS],
        tool_choice="auto",
    )
    assert answer.output_text == WHOLE
    assert (answer.metadata, answer.temperature) == ({"order": "7"}, 0.5)
    assert json.loads(answer.model_dump_json())["safety_identifier"] == "s"
