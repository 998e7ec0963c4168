"""The surfaces as their clients see them: one row each in CLIENTS.

A client asks in its own wire and reads the answer, once or streamed, back into one `Seen`.  It is
written from the wire's description, not from our encoders, and refuses what that does not allow.
"""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from tests.cross.asking import PIXEL, SSE, TOOL, Ask, Client, Seen
from tests.cross.ollama import OllamaChat, OllamaGenerate
from tests.cross.responses import ResponsesClient
from tests.fakes.messages_stream import accumulate, events


class ChatClient:
    """OpenAI chat completions."""

    surface, path = "openai_chat", "/v1/chat/completions"
    stream_type, converses, signs = SSE, True, True

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        content: Any = ask.text
        if ask.image:
            url = {"url": f"data:image/png;base64,{PIXEL}"}
            content = [{"type": "text", "text": ask.text}, {"type": "image_url", "image_url": url}]
        messages = [
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": content},
        ]
        if ask.call:
            messages += [*self._exchanged(ask), *ask.said_later]
        body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 300}
        if ask.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if ask.tools:
            function = {"name": "weather", "description": "The weather.", "parameters": TOOL}
            body["tools"] = [{"type": "function", "function": function}]
        return body

    def _exchanged(self, ask: Ask) -> list[dict[str, Any]]:
        assert ask.call is not None
        call_id, arguments = ask.call
        function = {"name": "weather", "arguments": arguments}
        call = {"id": call_id, "type": "function", "function": function}
        turn = {"role": "assistant", "content": None, "tool_calls": [call]} | (ask.thought or {})
        return [turn, {"role": "tool", "tool_call_id": call_id, "content": ask.result}]

    def once(self, body: bytes) -> Seen:
        whole = json.loads(body)
        assert whole["object"] == "chat.completion"
        assert whole["id"].startswith("chatcmpl-")
        (choice,) = whole["choices"]
        message = choice["message"]
        assert message["role"] == "assistant"
        assert message.get("reasoning") == message.get("reasoning_content")
        seen = Seen(message["content"] or "", message.get("reasoning_content") or "")
        seen.refusal = message["refusal"] or ""
        seen.calls = [_call(call) for call in message.get("tool_calls", ())]
        assert message.get("tool_calls") != []
        seen.finish = choice["finish_reason"]
        _usage(seen, whole.get("usage"))
        seen.thought = _handed_back(message)
        return seen

    def stream(self, body: bytes) -> Seen:
        frames = self.events(body)
        seen, calls = Seen(), dict[int, dict[str, Any]]()
        ids, thought = set(), dict[str, Any]()
        for number, frame in enumerate(frames):
            payload = frame.removeprefix(b"data: ")
            if payload == b"[DONE]":
                assert number == len(frames) - 1
                assert seen.error is None, "an error is not a good end"
                break
            chunk = json.loads(payload)
            if chunk.get("error"):
                seen.error = chunk["error"]
                continue
            ids.add(chunk["id"])
            _usage(seen, chunk.get("usage"))
            for choice in chunk["choices"]:
                delta = choice["delta"]
                assert ("role" in delta) is (number == 0)
                assert seen.finish is None, "nothing follows the finish reason"
                seen.text += delta.get("content") or ""
                seen.reasoning += delta.get("reasoning_content") or ""
                seen.refusal += delta.get("refusal") or ""
                assert delta.get("reasoning") == delta.get("reasoning_content")
                for detail in delta.get("reasoning_details", ()):
                    thought.setdefault("reasoning_details", []).append(detail)
                assert delta.get("tool_calls") != []
                for step in delta.get("tool_calls", ()):
                    _add_step(calls, step)
                seen.finish = choice["finish_reason"]
        assert len(ids) <= 1
        seen.calls = [_call(calls[index]) for index in sorted(calls)]
        seen.thought = thought | ({"reasoning_content": seen.reasoning} if seen.reasoning else {})
        return seen

    def error_kind(self, status: int) -> str:
        return {400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "api_error")

    def error(self, body: bytes) -> tuple[str, str]:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["type"], error["message"]

    def events(self, body: bytes) -> Sequence[bytes]:
        frames = [frame for frame in body.split(b"\n\n") if frame and not frame.startswith(b":")]
        assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames)
        return frames


class MessagesClient:
    """Anthropic Messages."""

    surface, path = "anthropic_messages", "/v1/messages"
    stream_type, converses, signs = SSE, True, True

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": ask.text}]
        if ask.image:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            content.append({"type": "image", "source": source})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if ask.call:
            messages += [*self._exchanged(ask), *ask.said_later]
        body: dict[str, Any] = {"model": model, "max_tokens": 300, "system": "Be terse."}
        body |= {"messages": messages, "stream": ask.stream}
        if ask.tools:
            tool = {"name": "weather", "description": "The weather.", "input_schema": TOOL}
            body["tools"] = [tool]
        return body

    def _exchanged(self, ask: Ask) -> list[dict[str, Any]]:
        assert ask.call is not None
        call_id, arguments = ask.call
        use = {"type": "tool_use", "id": call_id, "name": "weather", "input": json.loads(arguments)}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": ask.result}
        return [
            {"role": "assistant", "content": [*(ask.thought or ()), use]},
            {"role": "user", "content": [result]},
        ]

    def once(self, body: bytes) -> Seen:
        return _message(json.loads(body))

    def stream(self, body: bytes) -> Seen:
        message = accumulate(body)
        if "error" not in message:
            return _message(message)
        steps = [event.get("delta", {}) for event in events(body)]
        return Seen("".join(step.get("text", "") for step in steps), error=message["error"])

    def error_kind(self, status: int) -> str:
        kinds = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return kinds.get(status, "api_error")

    def error(self, body: bytes) -> tuple[str, str]:
        whole = json.loads(body)
        assert whole["type"] == "error"
        return whole["error"]["type"], whole["error"]["message"]

    def events(self, body: bytes) -> Sequence[bytes]:
        return [frame for frame in body.split(b"\n\n") if frame.startswith(b"event: ")]


CLIENTS: tuple[Client, ...] = (
    ChatClient(),
    MessagesClient(),
    ResponsesClient(),
    OllamaChat(),
    OllamaGenerate(),
)


def send(http: httpx.Client, client: Client, model: str, ask: Ask) -> httpx.Response:
    """One request in the client's wire."""
    return http.post(client.path, json=client.body(model, ask))


def seen(client: Client, ask: Ask, response: httpx.Response) -> Seen:
    """A good answer, read."""
    assert response.status_code == 200, response.text
    kind = client.stream_type if ask.stream else "application/json"
    assert response.headers["content-type"].startswith(kind)
    read = client.stream if ask.stream else client.once
    return read(response.content)


def _call(call: dict[str, Any]) -> tuple[str, str, Any]:
    function = call["function"]
    assert call["type"] == "function"
    return call["id"], function["name"], json.loads(function["arguments"])


def _add_step(calls: dict[int, dict[str, Any]], step: dict[str, Any]) -> None:
    if step["index"] not in calls:
        assert step["id"]
        assert step["function"]["name"]
        calls[step["index"]] = {**step, "function": dict(step["function"])}
        return
    assert not step.keys() & {"id", "type"}
    assert "name" not in step["function"]
    calls[step["index"]]["function"]["arguments"] += step["function"]["arguments"]


def _usage(seen: Seen, usage: dict[str, Any] | None) -> None:
    if usage:
        seen.input_tokens, seen.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        assert usage["total_tokens"] == seen.input_tokens + seen.output_tokens


def _handed_back(message: dict[str, Any]) -> dict[str, Any]:
    kept = ("reasoning_content", "reasoning_details")
    return {key: message[key] for key in kept if message.get(key)}


_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _message(message: dict[str, Any]) -> Seen:
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["id"].startswith("msg_")
    seen = Seen()
    thoughts = []
    for block in message["content"]:
        if block["type"] == "text":
            assert block["text"], "no empty text block"
            seen.text += block["text"]
        elif block["type"] == "thinking":
            assert block["signature"]
            seen.reasoning += block["thinking"]
            thoughts.append(block)
        elif block["type"] == "redacted_thinking":
            thoughts.append(block)
        elif block["type"] == "tool_use":
            seen.calls.append((block["id"], block["name"], block["input"]))
    reason = message["stop_reason"]
    seen.finish = _FINISH[reason] if reason is not None else None
    usage = message["usage"]
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    seen.input_tokens = usage["input_tokens"] + read + written
    seen.output_tokens = usage["output_tokens"]
    seen.thought = thoughts
    return seen
