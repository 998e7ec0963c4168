"""Ollama's native wire as its clients see it: NDJSON, arguments as objects, media without types."""

import json
from collections.abc import Sequence
from typing import Any

from tests.cross.asking import PIXEL, TOOL, Ask, Seen

NDJSON = "application/x-ndjson"
DURATIONS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}


class OllamaChat:
    """Ollama's /api/chat."""

    surface, path = "ollama", "/api/chat"
    stream_type, converses, signs = NDJSON, True, False

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        asked: dict[str, Any] = {"role": "user", "content": ask.text}
        if ask.image:
            asked["images"] = [PIXEL]
        messages = [{"role": "system", "content": "Be terse."}, asked]
        if ask.call:
            messages += [*self._exchanged(ask), *ask.said_later]
        body: dict[str, Any] = {"model": model, "messages": messages}
        body |= {"stream": ask.stream, "options": {"num_predict": 300}}
        if ask.tools:
            function = {"name": "weather", "description": "The weather.", "parameters": TOOL}
            body["tools"] = [{"type": "function", "function": function}]
        return body

    def _exchanged(self, ask: Ask) -> list[dict[str, Any]]:
        """As a client that keeps a call whole; the SDK for Python drops ids (see tests/clients)."""
        assert ask.call is not None
        call_id, arguments = ask.call
        function = {"name": "weather", "arguments": json.loads(arguments)}
        call = {"id": call_id, "function": function}
        result = {"role": "tool", "tool_name": "weather", "content": ask.result}
        turn = {"role": "assistant", "content": "", "tool_calls": [call]}
        thinking = {"thinking": ask.thought} if ask.thought else {}
        return [turn | thinking, result | {"tool_call_id": call_id}]

    def once(self, body: bytes) -> Seen:
        seen = Seen()
        self._add(seen, json.loads(body))
        assert seen.finish is not None
        return seen

    def stream(self, body: bytes) -> Seen:
        seen = Seen()
        for line in self.events(body):
            assert seen.finish is None, "nothing follows the last object"
            assert seen.error is None, "nothing follows an error"
            part = json.loads(line)
            if "error" in part:
                assert set(part) == {"error"}
                seen.error = {"message": part["error"]}
                continue
            assert part["done"] or not DURATIONS & set(part), "durations are the last object's"
            self._add(seen, part)
        assert (seen.finish is None) is (seen.error is not None)
        return seen

    def _add(self, seen: Seen, part: dict[str, Any]) -> None:
        assert part["created_at"].endswith("Z")
        assert part["model"]
        self._words(seen, part)
        if part["done"]:
            assert all(type(part[name]) is int for name in DURATIONS & set(part))
            seen.input_tokens, seen.output_tokens = part["prompt_eval_count"], part["eval_count"]
            # The wire has no word for it: whoever called a tool has stopped.
            seen.finish = "tool_calls" if seen.calls else part["done_reason"]
            assert part["done_reason"] in ("stop", "length")
            seen.thought = seen.reasoning

    def _words(self, seen: Seen, part: dict[str, Any]) -> None:
        message = part["message"]
        assert message["role"] == "assistant"
        seen.text += message["content"]
        seen.reasoning += message.get("thinking", "")
        for call in message.get("tool_calls", ()):
            function = call["function"]
            assert isinstance(function["arguments"], dict)
            seen.calls.append((call["id"], function["name"], function["arguments"]))

    def error_kind(self, status: int) -> str:
        return ""

    def error(self, body: bytes) -> tuple[str, str]:
        whole = json.loads(body)
        assert set(whole) == {"error"}
        return "", whole["error"]

    def events(self, body: bytes) -> Sequence[bytes]:
        assert body.endswith(b"\n")
        return body.splitlines()


class OllamaGenerate(OllamaChat):
    """Ollama's /api/generate: one prompt, no turns and no tools."""

    surface, path = "ollama_generate", "/api/generate"
    converses = False

    def body(self, model: str, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "system": "Be terse.", "prompt": ask.text}
        body |= {"stream": ask.stream, "options": {"num_predict": 300}}
        return body | ({"images": [PIXEL]} if ask.image else {})

    def _words(self, seen: Seen, part: dict[str, Any]) -> None:
        seen.text += part["response"]
        seen.reasoning += part.get("thinking", "")
