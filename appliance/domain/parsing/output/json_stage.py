"""JSON repair as a stage.  Only where the request asked for JSON; see json_text.py."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from appliance.domain.conversation.options import ResponseFormat
from appliance.domain.conversation.stream import Delta
from appliance.domain.parsing.output.json_text import JsonText
from appliance.domain.parsing.stage import is_bare

_BRACKETS = {"object": "{", "array": "["}


def brackets(asked: ResponseFormat | None) -> str:
    """The brackets the asked JSON may begin with; empty when none was asked for, or one without
    brackets."""
    if asked is None:
        return ""
    if asked.kind == "json_object":
        return "{"
    schema: Mapping[str, Any] = asked.schema
    told = schema.get("type")
    if told is None:
        return "{["
    return _BRACKETS.get(told, "") if isinstance(told, str) else ""


class JsonStage:
    """One choice's.  Its text is one JSON value."""

    wakes = None

    def __init__(self, index: int, opens: str) -> None:
        self._index = index
        self._json = JsonText(opens)
        self._ended = False

    def feed(self, delta: Delta, out: list[Delta]) -> None:
        """See Stage."""
        if is_bare(delta) or not (delta.text or delta.finish_reason):
            out.append(delta)
            return
        text = self._json.feed(delta.text) if delta.text else ""
        if delta.finish_reason:
            text += self._close(cut=delta.finish_reason == "length")
        if text == delta.text:
            out.append(delta)
        elif text or delta.finish_reason or delta.usage is not None:
            out.append(replace(delta, text=text, altered=True))

    def end(self, out: list[Delta]) -> None:
        """See Stage."""
        text = self._close(cut=True)
        if text:
            out.append(Delta(self._index, text, altered=True))

    def _close(self, *, cut: bool) -> str:
        if self._ended:
            return ""
        self._ended = True
        return self._json.end(close=not cut)
