"""The events of a Responses stream as bytes: numbered from 0 without a gap, the `event:` line
repeating the `type` of the data, `type` its first key."""

from collections.abc import Mapping
from typing import Any

import msgspec

encode_json = msgspec.json.Encoder().encode


class Frames:
    """`count` is how many there are, and the number of the next one."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """The next frame; `kind` is a plain word."""
        number, self.count = self.count, self.count + 1
        return numbered(kind, number, fields)

    def piece(self, head: bytes, text: str) -> bytes:
        """The next frame, a delta whose `delta_head` is `head`."""
        number = self.count
        self.count = number + 1
        return b'%b%b,"sequence_number":%d}\n\n' % (head, encode_json(text), number)


def numbered(kind: str, number: int, fields: Mapping[str, Any]) -> bytes:
    """One frame with that sequence number."""
    event = {"type": kind, "sequence_number": number, **fields}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode_json(event))


def lifecycle(kind: str, number: int, resource: bytes) -> bytes:
    """A frame that shows the whole response, already JSON."""
    told = kind.encode()
    return b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":%b}\n\n' % (
        told,
        told,
        number,
        resource,
    )


def delta_head(kind: str, **fields: Any) -> bytes:
    """What stands before the text of a delta."""
    told = encode_json({"type": kind, **fields})
    return b'event: %b\ndata: %b,"delta":' % (kind.encode(), told[:-1])
