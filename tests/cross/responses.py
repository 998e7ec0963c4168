"""OpenAI Responses as a client that keeps nothing at the server sees it, with Codex's manners."""

import json
from collections.abc import Sequence
from typing import Any

from tests.cross.asking import PIXEL, SSE, TOOL, Ask, Seen

_KEYS = (
    "id object created_at completed_at status incomplete_details model previous_response_id "
    "instructions output error tools tool_choice truncation parallel_tool_calls text top_p "
    "presence_penalty frequency_penalty top_logprobs temperature reasoning user usage "
    "max_output_tokens max_tool_calls store background service_tier metadata safety_identifier "
    "prompt_cache_key"
)
REQUIRED = frozenset(_KEYS.split())
_LAST = {"response.completed", "response.incomplete", "response.failed"}
_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesClient:
    """OpenAI Responses."""

    surface, path = "openai_responses", "/v1/responses"
    stream_type, converses, signs = SSE, True, True

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "input_text", "text": ask.text}]
        if ask.image:
            url = f"data:image/png;base64,{PIXEL}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        items: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if ask.call:
            items += [*self._exchanged(ask), *ask.said_later]
        body: dict[str, Any] = {"model": model, "instructions": "Be terse.", "input": items}
        body |= {"max_output_tokens": 300, "stream": ask.stream, "store": False}
        body["include"] = ["reasoning.encrypted_content"]
        if ask.tools:
            tool = {"name": "weather", "description": "The weather.", "parameters": TOOL}
            body["tools"] = [{"type": "function", "strict": False} | tool, {"type": "web_search"}]
        return body

    def _exchanged(self, ask: Ask) -> list[dict[str, Any]]:
        assert ask.call is not None
        call_id, arguments = ask.call
        called = {"call_id": call_id, "name": "weather", "arguments": arguments}
        result = {"type": "function_call_output", "call_id": call_id, "output": ask.result}
        return [*(ask.thought or ()), {"type": "function_call"} | called, result]

    def once(self, body: bytes) -> Seen:
        return _resource(json.loads(body))

    def stream(self, body: bytes) -> Seen:
        told = [_event(frame) for frame in self.events(body)]
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        kinds = [event["type"] for event in told]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert [kind for kind in kinds if kind in _LAST] == kinds[-1:], "one end, at the end"
        lifecycle = [event["response"] for event in told if "response" in event]
        assert len({resource["id"] for resource in lifecycle}) == 1
        assert lifecycle[0]["usage"] is None
        last = lifecycle[-1]
        seen = _resource(last)
        items = _accumulated(told)
        if last["status"] == "completed":
            assert items == last["output"], "the end says what the stream said"
        texts = [e["delta"] for e in told if e["type"] == "response.output_text.delta"]
        assert seen.text == "".join(texts)
        return seen

    def error_kind(self, status: int) -> str:
        return {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "api_error")

    def error(self, body: bytes) -> tuple[str, str]:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["type"], error["message"]

    def events(self, body: bytes) -> Sequence[bytes]:
        return [frame for frame in body.split(b"\n\n") if frame.startswith(b"event: ")]


def _event(frame: bytes) -> dict[str, Any]:
    kind, data = frame.split(b"\n")
    event: dict[str, Any] = json.loads(data.removeprefix(b"data: "))
    assert kind == f"event: {event['type']}".encode()
    return event


def _accumulated(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as they were closed; each opened before, by index and id, and said in steps."""
    opened: dict[int, dict[str, Any]] = {}
    closed: list[dict[str, Any]] = []
    steps: dict[int, str] = {}
    for event in told:
        index = event.get("output_index")
        if event["type"] == "response.output_item.added":
            assert index not in opened
            assert event["item"].get("content", []) == []
            opened[index], steps[index] = event["item"], ""
        elif event["type"] == "response.output_item.done":
            item = event["item"]
            assert (item["id"], item["type"]) == (opened[index]["id"], opened[index]["type"])
            assert steps[index] == _said(item)
            closed.append(item)
        elif index is not None:
            assert event["item_id"] == opened[index]["id"]
            steps[index] += event.get("delta", "")
    return closed


def _said(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return str(item["arguments"])
    return "".join(part.get("text") or part.get("refusal", "") for part in _parts(item))


def _parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [*item.get("summary", ()), *(item.get("content") or ())]


def _resource(response: dict[str, Any]) -> Seen:
    assert response.keys() >= REQUIRED, REQUIRED - response.keys()
    assert (response["object"], response["store"]) == ("response", False)
    assert response["id"].startswith("resp_")
    seen = Seen(thought=[], error=response["error"])
    for item in response["output"]:
        _item(seen, item)
    seen.finish = _finish(response, bool(seen.calls))
    usage = response["usage"]
    if usage is not None:
        seen.input_tokens, seen.output_tokens = usage["input_tokens"], usage["output_tokens"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage.keys() >= {"input_tokens_details", "output_tokens_details"}
    return seen


def _item(seen: Seen, item: dict[str, Any]) -> None:
    if item["type"] == "message":
        assert item["role"] == "assistant"
        if item["content"][0]["type"] == "refusal":
            seen.refusal += _said(item)
            return
        assert all(part["annotations"] == part["logprobs"] == [] for part in item["content"])
        seen.text += _said(item)
    elif item["type"] == "reasoning":
        seen.reasoning += _said(item)
        seen.thought.append(item)
    else:
        assert item["type"] == "function_call"
        assert item["id"] != item["call_id"]
        seen.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))


def _finish(response: dict[str, Any], called: bool) -> str | None:
    if response["status"] == "incomplete":
        return _FINISH[response["incomplete_details"]["reason"]]
    assert response["incomplete_details"] is None
    if response["status"] != "completed":
        return None
    return "tool_calls" if called else "stop"
