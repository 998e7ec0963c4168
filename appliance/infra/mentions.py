"""Whether bytes that were kept somewhere belong to an exchange that is to be forgotten.  Pure.

Asked by `appliance forget` of every message of a stream, every dead letter and every record set
aside, so that the common answer, no, costs one search for a string.
"""

from datetime import datetime

import msgspec


class Rating(msgspec.Struct):
    """What the record of feedback says of another exchange."""

    rated_trace_id: str = ""


class Envelope(msgspec.Struct):
    """The three ids that an event and the record of an exchange both carry, and when it was asked:
    RFC 3339 in the one, Unix seconds in the other.  Feedback belongs to what it rates, too, which
    its event says at once and its record within."""

    trace_id: str = ""
    correlation_id: str = ""
    conversation_id: str = ""
    occurred_at: str | float = 0.0
    rated_trace_id: str = ""
    feedback: Rating | None = None

    @property
    def rated(self) -> str:
        """The exchange that is rated; "" when none is."""
        return self.rated_trace_id or (self.feedback.rated_trace_id if self.feedback else "")


_decode = msgspec.json.Decoder(Envelope).decode


class Mentions:
    """`identifier` is a trace id (of the exchange, or of the one it rates), a correlation id or a
    conversation id; `until`, in Unix seconds,
    is when somebody asked to forget it: what was asked after that is not meant."""

    def __init__(self, identifier: str, until: float = float("inf")) -> None:
        self._identifier = identifier
        self._until = until
        self.quoted = msgspec.json.encode(identifier)  # as it stands in JSON of ours

    def __call__(self, data: bytes) -> bool:
        """Where `data` cannot be read and the id stands in it as a string, it is taken for one:
        too much is forgotten rather than too little."""
        if self.quoted not in data:
            return False
        try:
            found = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True
        ids = (found.trace_id, found.correlation_id, found.conversation_id, found.rated)
        return self._identifier in ids and _unix_s(found.occurred_at) <= self._until


def ids_of(data: bytes) -> set[str]:
    """The ids `data` carries; none when it cannot be read."""
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    return {found.trace_id, found.correlation_id, found.conversation_id, found.rated} - {""}


def rated_in(data: bytes) -> str:
    """The trace id of the exchange that `data` rates; "" when it rates none or cannot be read."""
    try:
        return _decode(data).rated
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _unix_s(occurred_at: str | float) -> float:
    """0, long ago, for what is no time."""
    try:
        if isinstance(occurred_at, str):
            return datetime.fromisoformat(occurred_at).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return occurred_at
