"""The wire of `POST /v1/feedback`, which is our own; pure.

    {"trace_id": "…", "rating": -5…5 or "up" or "down", "comment": "…"}
    {"object": "feedback", "id": "…", "trace_id": "…", "rating": 1, "stored": true}

`trace_id` is what the answer's `x-request-id` said, `id` the same of this request.  Errors have
OpenAI's shape.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from appliance.domain.conversation.request import Extensions
from appliance.domain.events.exchange import Feedback
from appliance.domain.responses.record import ID_PREFIX
from appliance.presentation.extensions import extensions
from appliance.presentation.json_body import convert, decode_object

# What surfaces put before the trace id, in the `id` of what they make.
ID_PREFIXES: Final = ("chatcmpl-", "cmpl-", "msg_", ID_PREFIX)
MAX_COMMENT_CHARS: Final = 10_000
# The longest comment with every character escaped, and the rest.
MAX_BODY_BYTES: Final = 128 * 1024
_WORDS: Mapping[str, int] = {"up": 1, "down": -1}


class WireRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Unknown fields are refused: no backend could want them, and a misspelt one would be lost."""

    trace_id: str
    rating: Annotated[int, Meta(ge=-5, le=5)] | Literal["up", "down"]
    comment: Annotated[str, Meta(max_length=MAX_COMMENT_CHARS)] | None = None
    x_project: str | None = None
    x_conversation: str | None = None


def decode(body: bytes, headers: Mapping[str, str]) -> tuple[Feedback, Extensions]:
    """Raises InvalidRequest; whether `rated_trace_id` can be one is the service's to say."""
    wire = convert(decode_object(body), WireRequest)
    rating = _WORDS[wire.rating] if isinstance(wire.rating, str) else wire.rating
    own = {"project": wire.x_project, "conversation": wire.x_conversation}
    rated = _without_prefix(wire.trace_id)
    return Feedback(rated, rating, wire.comment or ""), extensions(own, headers)


def encode(trace_id: str, feedback: Feedback, *, stored: bool) -> bytes:
    """`trace_id` is the request's own."""
    return msgspec.json.encode(
        {
            "object": "feedback",
            "id": trace_id,
            "trace_id": feedback.rated_trace_id,
            "rating": feedback.rating,
            "stored": stored,
        }
    )


def _without_prefix(identifier: str) -> str:
    for prefix in ID_PREFIXES:
        if identifier.startswith(prefix):
            return identifier.removeprefix(prefix)
    return identifier
