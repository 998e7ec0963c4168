"""What can be said of a response from its stored JSON alone: its items and pages of its input, and
the frame that says that nothing more is known.  Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.errors import view
from appliance.presentation.openai_responses.frames import encode_json, numbered

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
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
