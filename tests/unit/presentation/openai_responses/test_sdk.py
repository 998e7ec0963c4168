"""The official SDK, unmodified, reads what we write: a transport in memory plays our bytes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai._models import construct_type
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import BaseModel, TypeAdapter

from appliance.domain.errors import BackendBusy
from appliance.presentation.errors import ErrorView
from appliance.presentation.openai_responses import (
    compacted,
    decode,
    deleted,
    error,
    failure,
    input_items_page,
)
from tests.unit.presentation.golden import load
from tests.unit.presentation.openai_responses.test_golden import CASES, streamed

ASK: Any = {"model": "m", "input": "hi"}
FINISHED = [case for case in CASES if "ending" not in load(case / "conversation.json")]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model",
    "previous_response_id", "instructions", "output", "error", "tools", "tool_choice",
    "truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty", "frequency_penalty",
    "top_logprobs", "temperature", "reasoning", "user", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier",
    "prompt_cache_key",
}  # fmt: skip


def playing(body: bytes, status: int = 200, kind: str = "application/json") -> openai.OpenAI:
    headers = {"content-type": kind, "x-request-id": "trace"}
    answer = httpx2.Response(status, headers=headers, content=body)
    return openai.OpenAI(
        api_key="k",
        base_url="http://gateway/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)),
    )


def streaming(body: bytes) -> openai.OpenAI:
    return playing(b": keep-alive\n\n" + body, kind="text/event-stream")


def events(frames: bytes) -> Iterator[dict[str, Any]]:
    for frame in frames.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        yield event


def names(case: Path) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=names)
def test_every_event_is_one_of_the_sdks_and_numbered_without_a_gap(case: Path) -> None:
    frames, _ = streamed(case)
    told = list(events(frames))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    for event in told:
        EVENT.validate_python(event)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_a_resource_has_every_key_and_the_sdks_types(case: Path) -> None:
    _, resource = streamed(case)
    body = json.loads(resource)
    assert body.keys() >= REQUIRED
    Response.model_validate(body)


@pytest.mark.parametrize("case", FINISHED, ids=names)
def test_the_accumulator_adds_up_what_the_resource_says(case: Path) -> None:
    frames, resource = streamed(case)
    body = json.loads(resource)
    with streaming(frames).responses.stream(**ASK) as stream:
        deltas = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        snapshot = stream._state
        if body["status"] == "completed":
            final = stream.get_final_response()
            assert final.output_text == deltas
            assert final.id == body["id"]
            given: Any = final.to_dict()["output"]
            assert [item["id"] for item in given] == [item["id"] for item in body["output"]]
    done = snapshot._completed_output
    assert [done[n].to_dict() for n in sorted(done)] == body["output"]


@pytest.mark.parametrize("case", CASES, ids=names)
def test_no_stream_makes_the_accumulator_stumble(case: Path) -> None:
    with streaming(streamed(case)[0]).responses.stream(**ASK) as stream:
        last = list(stream)[-1]
    assert last.type in ("response.completed", "response.incomplete", "response.failed")


def test_structured_output_is_parsed_from_the_final_answer_alone() -> None:
    class Empty(BaseModel):
        pass

    case = next(case for case in CASES if case.name == "conversation")
    frames, _ = streamed(case)
    with streaming(frames).responses.stream(**ASK, text_format=Empty) as stream:
        assert stream.get_final_response().output_parsed == Empty()


def test_a_whole_answer_and_what_surrounds_it() -> None:
    case = next(case for case in CASES if case.name == "call")
    client = playing(streamed(case)[1])
    response = client.responses.create(**ASK)
    (call,) = response.output
    assert call.type == "function_call"
    assert (call.call_id, call.arguments) == ("call_a", '{"city":"Bonn"}')
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 32
    playing(deleted("resp_1")).responses.delete("resp_1")
    compaction = playing(compacted("t", 1, [], "ag1.x", None)).responses.compact(**ASK)
    assert compaction.output[-1].type == "compaction"


def test_input_items_are_the_sdks_and_page_through() -> None:
    case = next(case for case in CASES if case.name == "conversation")
    items = decode((case / "request.json").read_bytes(), {}).items
    page = playing(input_items_page(items, {"limit": "100"})).responses.input_items.list("resp_1")
    assert [item.id for item in page.data] == [item["id"] for item in reversed(items)]
    known = [item for item in items if item["type"] not in ("item_reference", "web_search_call")]
    for item in known:
        if not (item["type"] == "message" and item["role"] == "assistant"):
            TypeAdapter(ResponseItem).validate_python(item)
    shown: Any = construct_type(
        type_=ResponseItemList, value=json.loads(input_items_page(items, {}))
    )
    assert (shown.has_more, len(shown.data)) == (False, len(items))


def test_an_error_is_raised_by_its_status_with_its_field() -> None:
    body = error(ErrorView(400, "why", "invalid_request_error", None, "input[0].role"))
    with pytest.raises(openai.BadRequestError) as failed:
        playing(body, 400).responses.create(**ASK)
    assert (failed.value.param, failed.value.request_id) == ("input[0].role", "trace")


def test_a_stream_nothing_more_is_known_of_ends_in_an_error_the_sdk_hands_on() -> None:
    case = next(case for case in CASES if case.name == "text")
    cut = b"\n\n".join(streamed(case)[0].split(b"\n\n")[:5]) + b"\n\n"
    busy = BackendBusy("full", backend="a", retry_after_s=1)
    with streaming(cut + failure(busy, 5)).responses.stream(**ASK) as stream:
        last = list(stream)[-1]
    assert last.type == "error"
    assert (last.message, last.code, last.sequence_number) == ("full", "backend_busy", 5)
    EVENT.validate_python(next(events(failure(busy, 5))))
