"""The items of a request's `input` as they are kept and listed: each whole, with an id and a
status.  Called by `decode`; pure.

An item that came without an id gets one made of the body's hash and its position: the same request
gives the same ids.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.openai_responses.wire import Object

MESSAGE, REFERENCE = "message", "item_reference"
# What OpenAI's own ids begin with, by type of item.
PREFIXES: Mapping[str, str] = {
    MESSAGE: "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
}
_HASH_BYTES = 12


def type_of(item: Item) -> str:
    """The type of an item; one without is a message.  Empty where it is no text."""
    kind = item.get("type")
    if kind is None:
        return MESSAGE
    return kind if isinstance(kind, str) else ""


def whole_items(sent: str | Sequence[Item] | None, body: bytes) -> tuple[Item, ...]:
    """`input` as items; a text alone is a message of the user's.  Raises InvalidRequest for an item
    whose type is no text, and for a reference to none."""
    if sent is None:
        return ()
    if isinstance(sent, str):
        sent = [{"role": "user", "content": sent}]
    ids = _Ids(body)
    return tuple(_whole(item, at, ids) for at, item in enumerate(sent))


class _Ids:
    """The hash is made when the first id is."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._stem = ""

    def make(self, kind: str, at: int) -> str:
        if not self._stem:
            self._stem = hashlib.blake2b(self._body, digest_size=_HASH_BYTES).hexdigest()
        return f"{PREFIXES.get(kind, 'item')}_{self._stem}_{at}"


def _whole(item: Item, at: int, ids: _Ids) -> Item:
    kind = type_of(item)
    if not kind:
        place = f"input[{at}].type"
        raise InvalidRequest(f"{place}: a text is needed", param=place)
    made: Object = {**item, "type": kind}
    if not (isinstance(made.get("id"), str) and made["id"]):
        if kind == REFERENCE:
            place = f"input[{at}].id"
            raise InvalidRequest(f"{place}: which item?", param=place)
        made["id"] = ids.make(kind, at)
    if completes := _COMPLETED.get(kind):
        completes(made)
    return made


def _message(item: Object) -> None:
    of_assistant = item.get("role") == "assistant"
    content = item.get("content")
    if not isinstance(content, list):
        text = content if isinstance(content, str) else ""
        content = [{"type": "output_text" if of_assistant else "input_text", "text": text}]
    item["content"] = [_part(part) for part in content]
    item.setdefault("status", "completed")


def _part(part: Any) -> Any:
    """With what the part's type always has."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "output_text":
        return {"annotations": [], "logprobs": [], **part}
    if kind == "input_image":
        return {"detail": "auto", **part}
    return part


def _done(item: Object) -> None:
    item.setdefault("status", "completed")


def _reasoning(item: Object) -> None:
    if item.get("summary") is None:
        item["summary"] = []


_COMPLETED: Mapping[str, Callable[[Object], None]] = {
    MESSAGE: _message,
    "function_call": _done,
    "function_call_output": _done,
    "custom_tool_call": _done,
    "custom_tool_call_output": _done,
    "reasoning": _reasoning,
}
