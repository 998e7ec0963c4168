"""Whether bytes that were kept somewhere belong to an exchange that is to be forgotten.  Pure.

Asked by `appliance forget` of every message of a stream, every dead letter and every record set
aside, so that the common answer, no, costs one search for a string.
"""

import msgspec


class Envelope(msgspec.Struct):
    """The three ids that an event and the record of an exchange both carry."""

    trace_id: str = ""
    correlation_id: str = ""
    conversation_id: str = ""


_decode = msgspec.json.Decoder(Envelope).decode


class Mentions:
    """`identifier` is a trace id, a correlation id or a conversation id."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
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
        return self._identifier in (found.trace_id, found.correlation_id, found.conversation_id)


def ids_of(data: bytes) -> set[str]:
    """The ids `data` carries; none when it cannot be read."""
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    return {found.trace_id, found.correlation_id, found.conversation_id} - {""}
