"""The dialects as their servers speak them: one row each in UPSTREAMS.

An upstream plays behaviours of its wire and reads what it was asked back into one `Got`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes import anthropic_answers, ollama_answers
from tests.fakes.actions import Behaviour, Received, Stall, after_chunks
from tests.fakes.answers import chat, error_event, openai_error

CALL_ID = "call_up1"


@dataclass
class Got:
    """What a server was asked."""

    model: str
    stream: bool
    max_tokens: int | None = None
    texts: list[tuple[str, str]] = field(default_factory=list)  # role, text, in order
    images: list[tuple[str, str]] = field(default_factory=list)  # media type, base64
    tools: list[str] = field(default_factory=list)
    called: list[tuple[str, Any]] = field(default_factory=list)  # name, arguments
    results: list[str] = field(default_factory=list)
    reasoning: str = ""  # in the assistant's turn
    signature: str | None = None
    ids_match: bool = True  # results name the calls they answer, directly after them


class Upstream(Protocol):
    """One dialect."""

    dialect: str
    signature: str | None  # of its reasoning, where the wire has one
    names_media: bool  # its images carry a media type

    def config(self, url: str) -> str:
        """A backend `up-DIALECT` at `url` and the name `on-DIALECT` for it, as TOML."""

    def says(self, *pieces: str) -> Behaviour: ...
    def thinks(self, thought: str, text: str) -> Behaviour: ...
    def calls(self, name: str, arguments: Mapping[str, Any]) -> Behaviour: ...
    def refuses(self, status: int, message: str) -> Behaviour: ...
    def breaks(self, *pieces: str, message: str) -> Behaviour: ...
    def stalls(self, piece: str) -> Behaviour: ...
    def got(self, received: Received) -> Got: ...


def table(dialect: str, kind: str, base_url: str) -> str:
    """The rows of one backend."""
    return (
        f'[[backends]]\nname = "up-{dialect}"\nkind = "{kind}"\nbase_url = "{base_url}"\n'
        f'[[models]]\nmatch = "on-{dialect}"\nbackend = "up-{dialect}"\n'
        'upstream_model = "upstream-model"\n'
    )


class OpenAILike:
    """vLLM and its like."""

    dialect, signature, names_media = "openai_chat", None, True

    def config(self, url: str) -> str:
        return table(self.dialect, "openai-compatible", f"{url}/v1")

    def says(self, *pieces: str) -> Behaviour:
        return chat(pieces)

    def thinks(self, thought: str, text: str) -> Behaviour:
        return chat(text, reasoning=[thought[:4], thought[4:]])

    def calls(self, name: str, arguments: Mapping[str, Any]) -> Behaviour:
        return chat("", tool_calls=[(CALL_ID, name, json.dumps(arguments))])

    def refuses(self, status: int, message: str) -> Behaviour:
        kinds = {400: "invalid_request_error", 429: "rate_limit_error"}
        return openai_error(status, message, kinds.get(status, "api_error"))

    def breaks(self, *pieces: str, message: str) -> Behaviour:
        return after_chunks(len(pieces) + 1, error_event(message), chat(pieces))

    def stalls(self, piece: str) -> Behaviour:
        return _stalling(after_chunks(2, Stall(), chat(piece)))

    def got(self, received: Received) -> Got:
        body = received.json
        got = Got(body["model"], bool(body.get("stream")), body.get("max_tokens"))
        got.tools = [tool["function"]["name"] for tool in body.get("tools", ())]
        asked: list[str] = []
        for message in body["messages"]:
            content = message.get("content")
            for part in content if isinstance(content, list) else ():
                if part["type"] == "image_url":
                    prefix, _, data = part["image_url"]["url"].partition(";base64,")
                    got.images.append((prefix.removeprefix("data:"), data))
                else:
                    got.texts.append((message["role"], part["text"]))
            if message["role"] == "tool":
                got.results.append(content)
                got.ids_match &= message["tool_call_id"] in asked
            elif isinstance(content, str):
                got.texts.append((message["role"], content))
            asked = [call["id"] for call in message.get("tool_calls", ())] or asked
            for call in message.get("tool_calls", ()):
                function = call["function"]
                got.called.append((function["name"], json.loads(function["arguments"])))
            got.reasoning += message.get("reasoning_content", "")
        return got


class Anthropic:
    """The Messages API."""

    dialect, names_media = "anthropic_messages", True
    signature: str | None = anthropic_answers.SIGNATURE

    def config(self, url: str) -> str:
        return table(self.dialect, "anthropic", f"{url}/v1")

    def says(self, *pieces: str) -> Behaviour:
        return anthropic_answers.messages(pieces)

    def thinks(self, thought: str, text: str) -> Behaviour:
        return anthropic_answers.messages(text, thinking=[thought[:4], thought[4:]])

    def calls(self, name: str, arguments: Mapping[str, Any]) -> Behaviour:
        return anthropic_answers.messages("", tools=[(CALL_ID, name, arguments)])

    def refuses(self, status: int, message: str) -> Behaviour:
        kinds = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}
        body = {
            "type": "error",
            "error": {"type": kinds.get(status, "api_error"), "message": message},
        }
        return anthropic_answers.reply_json(status, body)

    def breaks(self, *pieces: str, message: str) -> Behaviour:
        broken = anthropic_answers.error_event("api_error", message)
        return after_chunks(len(pieces) + 3, broken, anthropic_answers.messages(pieces))

    def stalls(self, piece: str) -> Behaviour:
        return _stalling(after_chunks(4, Stall(), anthropic_answers.messages(piece)))

    def got(self, received: Received) -> Got:
        body = received.json
        got = Got(body["model"], bool(body.get("stream")), body["max_tokens"])
        system = body.get("system", "")
        blocks = [{"text": system}] if isinstance(system, str) else system
        got.texts = [("system", block["text"]) for block in blocks]
        got.tools = [tool["name"] for tool in body.get("tools", ())]
        asked: list[str] = []
        for message in body["messages"]:
            content = message["content"]
            if isinstance(content, str):
                content = [{"type": "text", "text": content}]
            for block in content:
                self._block(got, message["role"], block, asked)
            asked = [block["id"] for block in content if block["type"] == "tool_use"]
        return got

    def _block(self, got: Got, role: str, block: Mapping[str, Any], asked: Sequence[str]) -> None:
        kind = block["type"]
        if kind == "text":
            got.texts.append((role, block["text"]))
        elif kind == "image":
            got.images.append((block["source"]["media_type"], block["source"]["data"]))
        elif kind == "tool_use":
            got.called.append((block["name"], block["input"]))
        elif kind == "tool_result":
            told = block["content"]
            got.results.append(told if isinstance(told, str) else told[0]["text"])
            got.ids_match &= block["tool_use_id"] in asked
        elif kind == "thinking":
            got.reasoning += block["thinking"]
            got.signature = block["signature"]


class Ollama:
    """Its native wire."""

    dialect, signature, names_media = "ollama", None, False

    def config(self, url: str) -> str:
        return table(self.dialect, "ollama", url)

    def says(self, *pieces: str) -> Behaviour:
        return ollama_answers.ollama_chat(pieces)

    def thinks(self, thought: str, text: str) -> Behaviour:
        return ollama_answers.ollama_chat(text, thinking=[thought[:4], thought[4:]])

    def calls(self, name: str, arguments: Mapping[str, Any]) -> Behaviour:
        return ollama_answers.ollama_chat("", tool_calls=[ollama_answers.call(name, arguments)])

    def refuses(self, status: int, message: str) -> Behaviour:
        return ollama_answers.ollama_error(status, message)

    def breaks(self, *pieces: str, message: str) -> Behaviour:
        broken = ollama_answers.error_line(message)
        return after_chunks(len(pieces), broken, ollama_answers.ollama_chat(pieces))

    def stalls(self, piece: str) -> Behaviour:
        return _stalling(after_chunks(1, Stall(), ollama_answers.ollama_chat(piece)))

    def got(self, received: Received) -> Got:
        body = received.json
        got = Got(body["model"], body["stream"], body["options"].get("num_predict"))
        got.tools = [tool["function"]["name"] for tool in body.get("tools", ())]
        names: list[str] = []
        for message in body.get("messages") or self._prompted(body):
            got.images += [("", image) for image in message.get("images", ())]
            if message["role"] == "tool":
                got.results.append(message["content"])
                got.ids_match &= message["tool_name"] in names
            elif message["content"]:
                got.texts.append((message["role"], message["content"]))
            called = [call["function"] for call in message.get("tool_calls", ())]
            names = [function["name"] for function in called] or names
            got.called += [(function["name"], function["arguments"]) for function in called]
            got.reasoning += message.get("thinking", "")
        return got

    def _prompted(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What /api/generate was asked, as messages."""
        asked = {"role": "user", "content": body["prompt"], "images": body.get("images") or []}
        return [{"role": "system", "content": body["system"]}, asked]


UPSTREAMS: tuple[Upstream, ...] = (OpenAILike(), Anthropic(), Ollama())


def _stalling(streamed: Behaviour) -> Behaviour:
    """`streamed` for a stream; without one the server just thinks."""
    return lambda received: streamed(received) if received.json.get("stream") else [Stall()]
