"""NATS's text protocol as far as a publisher needs it: what the server says, and what we say.

Pure: bytes in, calls of a `Handler` out; no socket, no clock.  Used by `link.Link`.
Source: docs.nats.io/reference/reference-protocols/nats-protocol.
"""

from typing import Protocol

import msgspec

PING = b"PING\r\n"
PONG = b"PONG\r\n"
MOST_BYTES = 1024 * 1024  # of a line or an answer: both are a few hundred bytes
HEADER_START = "NATS/1.0\r\nNats-Msg-Id: "
HEADER_BYTES = len(HEADER_START) + 4  # of our header, beside the id: both line ends
_encode = msgspec.json.Encoder().encode


class ProtocolError(Exception):
    """What the server sent is not NATS."""


class Info(msgspec.Struct, frozen=True):
    """What a server says of itself; `connect_urls` are the other members of its cluster."""

    max_payload: int = 1024 * 1024
    tls_required: bool = False
    headers: bool = False
    connect_urls: tuple[str, ...] | None = None


class Handler(Protocol):
    """Told of everything a server says, in order."""

    def on_info(self, info: Info) -> None:
        """First of all, and again when its cluster or its limits change."""

    def on_message(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        """An answer; `headers` is b"" where there are none."""

    def on_ping(self) -> None:
        """It wants a PONG."""

    def on_pong(self) -> None:
        """It has read everything before our PING."""

    def on_error(self, text: str) -> None:
        """It refused something; most errors are followed by the end of the connection."""


class Parser:
    """Cuts what arrives, in pieces of any size, into what was said."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Report all that is whole by now.  Raises ProtocolError."""
        if self._rest:
            data = self._rest + data
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            if data.startswith((b"MSG ", b"HMSG "), at):
                after = self._message(data, at, end)
                if not after:
                    break
                at = after
            else:
                self._line(data[at:end])
                at = end + 2
        self._rest = data[at:]
        if len(self._rest) > MOST_BYTES:
            raise ProtocolError(f"more than {MOST_BYTES} bytes without an end")

    def _message(self, data: bytes, at: int, end: int) -> int:
        """Report the message whose first line is `data[at:end]`; the offset after it, or 0 while
        some of it is missing."""
        words = data[at:end].split()
        if len(words) < 4:
            raise ProtocolError(f"not a message: {data[at:end][:40]!r}")
        size = _size(words[-1])
        start = end + 2
        after = start + size + 2
        if after > len(data):
            return 0
        if data[after - 2 : after] != b"\r\n":
            raise ProtocolError("a message is longer than it said")
        if words[0] == b"MSG":
            self._handler.on_message(words[1], b"", data[start : start + size])
        else:
            body = start + min(size, _size(words[-2]))
            self._handler.on_message(words[1], data[start:body], data[body : start + size])
        return after

    def _line(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"PING":
                self._handler.on_ping()
            case b"PONG":
                self._handler.on_pong()
            case b"INFO":
                self._handler.on_info(_info(rest))
            case b"-ERR":
                self._handler.on_error(rest.decode("utf-8", "replace").strip(" '"))
            case b"+OK":
                pass
            case _:
                raise ProtocolError(f"not a word of NATS: {line[:40]!r}")


def connect_line(fields: dict[str, object]) -> bytes:
    """CONNECT with `fields` beside what every connection of ours says."""
    shared = {
        "verbose": False,
        "pedantic": False,
        "echo": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python",
        "version": "1",
    }
    return b"CONNECT " + _encode(shared | fields) + b"\r\n"


def subscribe_line(subject: str, identifier: int) -> bytes:
    """SUB: from now on what is sent to `subject` comes here."""
    return f"SUB {subject} {identifier}\r\n".encode("ascii")


def publish_head(subject: str, reply: str, event_id: str, size: int) -> bytes:
    """What goes before `size` bytes of payload and a line end.  `reply` is "" or ends in a space.

    Raises UnicodeEncodeError when `event_id` cannot be a header.
    """
    header = HEADER_BYTES + len(event_id)
    return (
        f"HPUB {subject} {reply}{header} {header + size}\r\n{HEADER_START}{event_id}\r\n\r\n"
    ).encode("ascii")


def _size(word: bytes) -> int:
    if not word.isdigit() or len(word) > 9 or (size := int(word)) > MOST_BYTES:
        raise ProtocolError(f"not a size: {word[:20]!r}")
    return size


def _info(text: bytes) -> Info:
    try:
        return msgspec.json.decode(text, type=Info)
    except msgspec.MsgspecError as exc:
        raise ProtocolError(f"INFO: {exc}") from exc
