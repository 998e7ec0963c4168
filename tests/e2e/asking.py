"""Small words the end-to-end tests share."""

import json
from typing import Any

import httpx

CHAT = "/v1/chat/completions"
ERROR_KEYS = {"message", "type", "param", "code"}


def question(text: str = "Hello?", **fields: Any) -> dict[str, Any]:
    """A chat completion request."""
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **fields}


def events(response: httpx.Response) -> list[Any]:
    """The `data:` payloads of a stream, decoded; `[DONE]` stays text."""
    payloads = [line[6:] for line in response.text.split("\n\n") if line.startswith("data: ")]
    return [p if p == "[DONE]" else json.loads(p) for p in payloads]


def text_of(chunks: list[Any]) -> str:
    """The content of every step of choice 0."""
    steps = [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c.get("choices")]
    return "".join(step.get("content") or "" for step in steps)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of a refused request; asserts status and the four keys."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == ERROR_KEYS
    assert error["message"]
    return error
