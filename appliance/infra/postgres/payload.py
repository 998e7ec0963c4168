"""The body of an event on its way into a row.  Pure; under `writers/` and `rows.py`.

PostgreSQL takes no NUL in a text: it becomes U+FFFD, everything else stays as it was sent.
Half a surrogate pair cannot be in JSON that was decoded, but in what others say of an event.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

_encode = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct, kw_only=True):
    """What every event starts with.  Fields are named as the columns they become; what a subclass
    does not name is ignored."""

    event_id: str
    trace_id: str
    correlation_id: str
    conversation_id: str
    # PostgreSQL takes more for a moment ("infinity", "now") than anybody can read back.
    created_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT")] = msgspec.field(
        name="occurred_at"
    )

    @property
    def ids(self) -> tuple[str, str, str]:
        """Those under which somebody may ask to forget it."""
        return self.trace_id, self.correlation_id, self.conversation_id

    @property
    def about(self) -> str:
        """The trace id of another exchange that it speaks of: once that is forgotten, so is this,
        whenever it was said.  "" for most."""
        return ""


def storable(data: bytes) -> bytes:
    """`data`, the JSON of an event, without NUL in any text.  Raises msgspec.DecodeError."""
    if b"\\u0000" not in data:
        return data
    return _encode(_without_nul(msgspec.json.decode(data)))


def storable_text(value: str) -> str:
    """As a text column takes it."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def json_text(value: object) -> str:
    """As a jsonb column takes it."""
    return _encode(value).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
