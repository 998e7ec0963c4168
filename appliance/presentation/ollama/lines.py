"""How the lines of /api/chat and /api/generate differ, and the lines that are no step of an answer.
Called by encode.py and by the surface's row; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.domain.conversation.request import ChatRequest
from appliance.presentation.ollama.decode import CHAT as CHAT_DIALECT
from appliance.presentation.ollama.instants import Instants

encode_json = msgspec.json.Encoder().encode
NOT_DONE = b',"done":false}\n'
Line = dict[str, Any]
_SPOKEN = frozenset({"thinking", "tool_calls"})  # and the text, which is always there


@dataclass(frozen=True, slots=True)
class Shape:
    """`text_open` and `thinking_open` stand before a piece as JSON text, `close` behind it."""

    text_open: bytes
    thinking_open: bytes
    close: bytes
    nested: bool  # what is said is in `message`, and not in the line itself

    def said(
        self, line: Mapping[str, Any], text: str, thinking: str = "", calls: Any = None
    ) -> Line:
        """`line` with exactly this said in it; what else it holds stays."""
        told: Line = {self._text: text}
        if thinking:
            told["thinking"] = thinking
        if calls:
            told["tool_calls"] = calls
        if not self.nested:
            return {**_unspoken(line), **told}
        given = line.get("message")
        kept = _unspoken(given) if isinstance(given, dict) else {}
        return {**line, "message": {**kept, "role": "assistant", **told}}

    @property
    def _text(self) -> str:
        return "content" if self.nested else "response"


CHAT = Shape(
    b',"message":{"role":"assistant","content":',
    b',"message":{"role":"assistant","content":"","thinking":',
    b"}" + NOT_DONE,
    nested=True,
)
GENERATE = Shape(b',"response":', b',"response":"","thinking":', NOT_DONE, nested=False)


def shape_of(request: ChatRequest) -> Shape:
    """The shape of the answer to a request of this wire."""
    return CHAT if request.dialect == CHAT_DIALECT else GENERATE


def head(model: str) -> bytes:
    """What every line begins with, up to the time it was made at."""
    return b'{"model":%b,"created_at":"' % encode_json(model)


def keep_alive(request: ChatRequest, model: str) -> bytes:
    """A line that says nothing: this wire has no comments."""
    shape = shape_of(request)
    return b'%b%b"%b""%b' % (head(model), Instants().stamp(), shape.text_open, shape.close)


def loaded(request: ChatRequest, model: str) -> bytes:
    """The answer to a request without anything to answer: the model was loaded, or with a
    `keep_alive` of 0 unloaded; as far as its backend does such things."""
    reason = "unload" if _is_zero(request.params.get("keep_alive")) else "load"
    line = {"model": model, "created_at": Instants().stamp().decode()}
    return encode_json({**shape_of(request).said(line, ""), "done": True, "done_reason": reason})


def _unspoken(given: Mapping[str, Any]) -> Line:
    return {name: value for name, value in given.items() if name not in _SPOKEN}


def _is_zero(keep_alive: Any) -> bool:
    """A number, or a duration: 0, "0", "0s", "0m0s" …"""
    if isinstance(keep_alive, str):
        return "0" in keep_alive and not any(digit in keep_alive for digit in "123456789")
    return keep_alive is not None and keep_alive == 0
