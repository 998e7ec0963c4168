"""The usual behaviours of an OpenAI-compatible server, and the unusual ones seen in real ones."""

import base64
import hashlib
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

from tests.fakes.actions import Action, Behaviour, Body, Cut, End, Head, Raw, Received
from tests.fakes.chat_objects import CREATED, Calls, ChatObjects, Usage, delta, envelope

WORDS = ("Hello", " there", ",", " friend", ".")


def chat(
    text: str | Sequence[str] = WORDS,
    *,
    usage: Usage = "last",
    finish_reason: str | None = "stop",
    tool_calls: Sequence[tuple[str, str, str]] = (),
    reasoning: str | Sequence[str] = (),
    reasoning_field: str = "reasoning_content",
    prompt_tokens: int = 7,
    done: bool = True,
    newline: str = "\n",
    model: str = "",
    call_style: Calls = "halves",
    empty_calls: bool = False,
    stop_reason: str | int | None = None,
    says_stop: bool = False,
    refusal: Sequence[str] = (),
) -> Behaviour:
    """A chat completion: one JSON object, or a stream when the request says so.

    `text` and `reasoning` are streamed in the pieces given (a str is one piece); completion_tokens
    counts them.  `usage`: in a chunk of its own after finish_reason (as OpenAI and vLLM, and only
    when the request asks with include_usage), in the finish chunk (as others, asked or not), or
    nowhere, once-answers included.  `tool_calls` are (id, name, arguments), arguments streamed in
    two halves.  `done=False` leaves out [DONE].  `model`: instead of the one asked for.  A
    `refusal`, in pieces, comes behind the text.
    """
    script = ChatObjects(
        pieces=[text] if isinstance(text, str) else list(text),
        thoughts=[reasoning] if isinstance(reasoning, str) else list(reasoning),
        thoughts_field=reasoning_field,
        calls=tool_calls,
        finish=_finish(finish_reason, bool(tool_calls) and not says_stop, call_style),
        usage=usage,
        prompt_tokens=prompt_tokens,
        model=model,
        style=call_style,
        empty_calls=empty_calls,
        stop_reason=stop_reason,
        refusal=refusal,
    )

    def act(received: Received) -> list[Action]:
        if not received.stream:
            return _json(200, script.once(received))
        chunks = (json.dumps(chunk, ensure_ascii=False) for chunk in script.chunks(received))
        return sse(*chunks, done=done, newline=newline)(received)

    return act


def _finish(reason: str | None, called: bool, style: Calls) -> str | None:
    if reason != "stop" or not called:
        return reason
    return "function_call" if style == "legacy" else "tool_calls"


def completion(
    text: str | Sequence[str] = WORDS, *, finish_reason: str = "stop", prompt_tokens: int = 7
) -> Behaviour:
    """A text completion, once or streamed; its usage as OpenAI's, last and only when asked for."""
    pieces = [text] if isinstance(text, str) else list(text)
    total = prompt_tokens + len(pieces)
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": len(pieces)}
    usage = counts | {"total_tokens": total}

    def row(piece: str, reason: str | None) -> dict[str, Any]:
        return {"text": piece, "index": 0, "logprobs": None, "finish_reason": reason}

    def act(received: Received) -> list[Action]:
        base = envelope("text_completion", received.model)
        if not received.stream:
            whole = {"choices": [row("".join(pieces), finish_reason)], "usage": usage}
            return _json(200, base | whole)
        rows = [*(row(piece, None) for piece in pieces), row("", finish_reason)]
        chunks = [base | {"choices": [one]} for one in rows]
        if (received.json.get("stream_options") or {}).get("include_usage"):
            chunks.append(base | {"choices": [], "usage": usage})
        return sse(*map(json.dumps, chunks))(received)

    return act


def sse(*payloads: str | bytes, done: bool = True, newline: str = "\n") -> Behaviour:
    """A stream of exactly these `data:` payloads, one event and one chunk each."""
    end = newline.encode()
    whole = [payload.encode() if isinstance(payload, str) else payload for payload in payloads]
    events = [b"data: " + payload + end + end for payload in whole + [b"[DONE]"] * done]
    head = Head(200, (("content-type", "text/event-stream"),), chunked=True)
    return lambda _: [head, *(Body(event, event=True) for event in events), End()]


def error_event(message: str = "the model fell over", **fields: Any) -> Body:
    """An error in band; as the action of `after_chunks`, before or after content.

    What follows it in the behaviour is still sent: real servers differ, add Cut() where one stops.
    """
    error = {"message": message, "type": "server_error", "param": None, "code": None} | fields
    return Body(b"data: " + json.dumps({"error": error}).encode() + b"\n\n", event=True)


def content_event(text: str) -> Body:
    """One more content delta, for scripts made by hand."""
    chunk = envelope("chat.completion.chunk", "") | {"choices": [delta({"content": text}, None)]}
    return Body(b"data: " + json.dumps(chunk).encode() + b"\n\n", event=True)


def reply(
    status: int, body: bytes = b"", content_type: str = "application/json", **headers: str
) -> Behaviour:
    """Any status and bytes: HTML, nothing, broken JSON; `_` in header names stands for `-`."""
    fields = (
        *((("content-type", content_type),) if content_type else ()),
        *((name.replace("_", "-"), value) for name, value in headers.items()),
        ("content-length", str(len(body))),
    )
    return lambda _: [Head(status, fields), *([Body(body)] if body else []), End()]


def reply_json(status: int, value: Any, **headers: str) -> Behaviour:
    return reply(status, json.dumps(value).encode(), **headers)


def openai_error(
    status: int, message: str, kind: str, code: str | None = None, param: str | None = None
) -> Behaviour:
    """OpenAI's error object."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return reply_json(status, {"error": error})


def gemini_error(status: int, message: str, *, retry_delay: str = "") -> Behaviour:
    """Google's error object in a list, its wait in the body and not in a header."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}
    error = {"code": status, "message": message, "status": "RESOURCE_EXHAUSTED"}
    return reply_json(status, [{"error": error | {"details": [info] if retry_delay else []}}])


def html_error(status: int = 502) -> Behaviour:
    """What a proxy in front of the server says."""
    return reply(status, b"<html><body><h1>Bad Gateway</h1></body></html>", "text/html")


def rate_limited(retry_after: str = "2") -> Behaviour:
    error = {
        "message": "Slow down",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    return reply_json(429, {"error": error}, retry_after=retry_after)


def llamacpp_context_error(prompt_tokens: int = 5000, window: int = 1024) -> Behaviour:
    """llama.cpp's: 400 with an integer code."""
    message = (
        f"request ({prompt_tokens} tokens) exceeds the available context size ({window} tokens), "
        "try increasing it"
    )
    error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
    return reply_json(400, {"error": error | {"n_prompt_tokens": prompt_tokens, "n_ctx": window}})


def vllm_context_error(prompt_tokens: int = 5000, window: int = 1024) -> Behaviour:
    """vLLM's: BadRequestError, an integer code too; only the message tells."""
    message = (
        f"This model's maximum context length is {window} tokens. However, you requested "
        f"{prompt_tokens} tokens in the messages. Please reduce the length of the messages."
    )
    error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
    return reply_json(400, {"error": error})


def openai_context_error(prompt_tokens: int = 5000, window: int = 1024) -> Behaviour:
    """OpenAI's: a string code."""
    message = (
        f"This model's maximum context length is {window} tokens. However, your messages resulted "
        f"in {prompt_tokens} tokens. Please reduce the length of the messages."
    )
    return openai_error(
        400, message, "invalid_request_error", "context_length_exceeded", "messages"
    )


def broken_json() -> Behaviour:
    """200, and a JSON object that stops in the middle."""
    return reply(200, b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess')


def invalid_utf8() -> Behaviour:
    """A once-answer, or a stream's event, whose text is not UTF-8."""

    def act(received: Received) -> list[Action]:
        actions = chat("SPOIL")(received)
        return [
            Body(step.data.replace(b"SPOIL", b"\xff\xfe\xc3("), step.event)
            if isinstance(step, Body)
            else step
            for step in actions
        ]

    return lambda received: _measured(act(received))


def not_http() -> Behaviour:
    """Another protocol's greeting."""
    return lambda _: [Raw(b"220 mail.example ESMTP\r\n"), Cut()]


def drop_reused(behaviour: Behaviour) -> Behaviour:
    """Close a connection at its second request, as llama.cpp may after a stream."""
    return lambda received: [Cut()] if received.reused else behaviour(received)


def models(ids: Sequence[str]) -> Behaviour:
    data = [{"id": i, "object": "model", "created": CREATED, "owned_by": "scripted"} for i in ids]
    return reply_json(200, {"object": "list", "data": data})


def embeddings(dimensions: int = 8) -> Behaviour:
    """Unit vectors that depend on the text alone (`vector`); `float` or `base64`, as asked."""

    def act(received: Received) -> list[Action]:
        asked = received.json["input"]
        texts = [asked] if isinstance(asked, str) else list(asked)
        size = int(received.json.get("dimensions") or dimensions)
        packed = received.json.get("encoding_format") == "base64"
        vectors = [vector(str(text), size) for text in texts]
        data = [
            {"object": "embedding", "index": i, "embedding": _packed(v) if packed else v}
            for i, v in enumerate(vectors)
        ]
        tokens = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json(200, {"object": "list", "data": data, "model": received.model, "usage": usage})

    return act


def vector(text: str, dimensions: int) -> list[float]:
    """The unit vector `embeddings` answers for `text`."""
    stream = hashlib.shake_256(text.encode()).digest(dimensions)
    raw = [byte - 127.5 for byte in stream]
    norm = math.sqrt(sum(x * x for x in raw))
    return [x / norm for x in raw]


def _packed(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _json(status: int, value: Any) -> list[Action]:
    body = json.dumps(value, ensure_ascii=False).encode()
    fields = (("content-type", "application/json"), ("content-length", str(len(body))))
    return [Head(status, fields), Body(body), End()]


def _measured(actions: list[Action]) -> list[Action]:
    """Content-Length made true again after a body was changed."""
    size = str(sum(len(step.data) for step in actions if isinstance(step, Body)))
    return [
        Head(
            step.status,
            tuple((n, size if n == "content-length" else v) for n, v in step.headers),
            step.chunked,
        )
        if isinstance(step, Head)
        else step
        for step in actions
    ]
