"""A request as bytes.  The only place where header text from elsewhere meets the wire."""

import re
from collections.abc import Iterable, Mapping

from .errors import Unsendable
from .target import Target

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

# One match over the whole block: names are tokens, values have no control character but TAB, and
# nobody but us frames the message (a second Content-Length is how requests are smuggled).
_FIELDS = re.compile(
    r"(?:(?!(?i:host|connection|content-length|transfer-encoding|accept-encoding|expect|upgrade):)"
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]++: [\t\x20-\x7e\x80-\xff]*+\r\n)*+",
    re.ASCII,
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BODILESS = frozenset({"GET", "DELETE", "OPTIONS"})


def encode(method: str, target: Target, headers: Headers, body_bytes: int) -> bytes:
    """The request line and headers, ended by the blank line, for a body of `body_bytes`.

    Raises Unsendable for a method outside the usual six (HEAD answers have no body, CONNECT no
    end), for a header that is not one line of Latin-1, and for one that frames the message.
    """
    if method not in _METHODS:
        raise Unsendable(f"the method {method!r} is not supported")
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{name}: {value}\r\n" for name, value in pairs]
    fields = "".join(lines)
    # The count refuses a value that is itself a well-formed end of line and next header.
    if not _FIELDS.fullmatch(fields) or fields.count("\n") != len(lines):
        raise Unsendable("a header is not one line of text, or is ours to set")
    length = "" if not body_bytes and method in _BODILESS else f"Content-Length: {body_bytes}\r\n"
    return (
        f"{method} {target.path} HTTP/1.1\r\nHost: {target.host}\r\n{fields}"
        f"Accept-Encoding: identity\r\n{length}\r\n"
    ).encode("latin-1")
