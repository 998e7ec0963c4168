"""Asking the scripted server with httpx, a client that is not ours."""

import json
from typing import Any

import httpx

from tests.fakes.scripted_backend import ScriptedBackend


def ask(backend: ScriptedBackend, model: str = "m", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": []} | fields
    return httpx.post(f"{backend.base_url}/chat/completions", json=body, timeout=5, verify=False)


def ask_stream(backend: ScriptedBackend, **fields: Any) -> list[Any]:
    """The payloads, parsed but for [DONE]."""
    text = ask(backend, stream=True, **fields).content.decode()
    payloads = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [p if p == "[DONE]" else json.loads(p) for p in payloads]


def content(chunks: list[Any]) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)
