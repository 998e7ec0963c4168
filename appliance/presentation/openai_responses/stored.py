"""What can be said of a response from its stored JSON alone: its items, pages of its input, its end
when the gateway that made it is gone.  Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.errors import view
from appliance.presentation.openai_responses.conversation import COMPACTION
from appliance.presentation.openai_responses.frames import encode_json, lifecycle, numbered
from appliance.presentation.openai_responses.output import INCOMPLETE

Wire = dict[str, Any]
DEFAULT_LIMIT, MAX_LIMIT = 20, 100
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Event of a piece -> the fields it belongs to: in the item, then in the part of it.
_PIECES: Mapping[str, tuple[str, str, str]] = {
    "response.output_text.delta": ("content", "output_text", "text"),
    "response.refusal.delta": ("content", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text", "text"),
}
_WHOLE_PIECES: Mapping[str, str] = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_decode = msgspec.json.Decoder().decode


def output_items(resource: bytes) -> list[Item]:
    """What a response has said."""
    return list(_decode(resource)["output"])


def deleted(response_id: str) -> bytes:
    """The answer to DELETE."""
    return encode_json({"id": response_id, "object": "response", "deleted": True})


def input_items_page(items: Sequence[Item], query: Mapping[str, str]) -> bytes:
    """A page of `items`, newest first unless `order` is asc: `limit` of them behind the item
    `after`.

    Raises InvalidRequest for a query that cannot be meant.
    """
    order = query.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be asc or desc", param="order")
    limit = _limit(query.get("limit"))
    listed = list(items) if order == "asc" else list(reversed(items))
    if after := query.get("after"):
        listed = listed[_place(listed, after) + 1 :]
    page = listed[:limit]
    return encode_json(
        {
            "object": "list",
            "data": page,
            "first_id": page[0].get("id") if page else None,
            "last_id": page[-1].get("id") if page else None,
            "has_more": len(listed) > limit,
        }
    )


def rebuilt(resource: bytes, events: bytes, message: str) -> tuple[bytes, bytes]:
    """Resource and frames of a response nobody produces any more: failed, with what its `events`
    had said; as they say, where they are whole already.

    `events` are frames from number 0 on, as far as they are known: what is cut or does not follow
    is left out.
    """
    body: Wire = _decode(resource)
    items: dict[int, Wire] = {}
    kept, count = b"", 0
    for frame, event in _events(events):
        if event.get("sequence_number") != count:
            break
        kept, count = kept + frame, count + 1
        if event["type"] in _TERMINAL:
            return encode_json(event["response"]), kept
        _say(items, event)
    if not count:
        kept, count = lifecycle("response.created", 0, resource), 1
    body["status"] = "failed"
    body["error"] = {"code": "server_error", "message": message}
    body["output"] = [items[index] for index in sorted(items)]
    told = encode_json(body)
    return told, kept + lifecycle("response.failed", count, told)


def failure(error: Exception, sequence: int) -> bytes:
    """The frame that ends a stream of which nothing more is known; flat, unlike every other error
    of OpenAI's."""
    told = view(error)
    fields = {"code": told.code, "message": told.message, "param": told.param}
    return numbered("error", sequence, fields)


def _limit(given: str | None) -> int:
    try:
        limit = int(given) if given else DEFAULT_LIMIT
    except ValueError:
        limit = 0
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be 1 to {MAX_LIMIT}", param="limit")
    return limit


def _place(items: Sequence[Item], item_id: str) -> int:
    for place, item in enumerate(items):
        if item.get("id") == item_id:
            return place
    raise InvalidRequest(f"after: no item {item_id!r} among them", param="after")


def _events(frames: bytes) -> Iterator[tuple[bytes, Wire]]:
    """Each whole frame and its event."""
    for frame in frames.split(b"\n\n")[:-1]:
        _, found, data = frame.partition(b"\ndata: ")
        try:
            event = _decode(data) if found else None
        except msgspec.DecodeError:
            return
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return
        yield frame + b"\n\n", event


def _say(items: dict[int, Wire], event: Wire) -> None:
    """Add one event to the items it is about."""
    kind, index = event["type"], event.get("output_index")
    if kind == "response.output_item.added" and event["item"]["type"] != COMPACTION:
        items[event["output_index"]] = {**event["item"], "status": INCOMPLETE}
    elif kind == "response.output_item.done":
        items[event["output_index"]] = event["item"]
    elif kind in _WHOLE_PIECES and index in items:
        items[index][_WHOLE_PIECES[kind]] += event["delta"]
    elif kind in _PIECES and index in items:
        field, part_type, text = _PIECES[kind]
        parts = items[index].setdefault(field, [])
        if not parts:
            parts.append(_empty_part(part_type, text))
        parts[-1][text] += event["delta"]
        if part_type == "output_text":
            parts[-1]["logprobs"] += event.get("logprobs") or ()


def _empty_part(kind: str, text: str) -> Wire:
    part: Wire = {"type": kind, text: ""}
    if kind == "output_text":
        part |= {"annotations": [], "logprobs": []}
    return part
