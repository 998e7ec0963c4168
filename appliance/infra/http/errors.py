"""What can go wrong between us and a server.  The dialects translate it into `domain.errors`.

HttpError
├── Unsendable       the request cannot be put on the wire (header injection, a bad URL)
├── ConnectFailed    refused, no route, no such name, TLS refused: nothing was sent
│   └── ConnectTimeout
├── ClosedEarly      closed before the first byte of the response: safe to retry
├── ReadTimeout      no headers, or no next piece of the body, in time
├── Cut              closed within the response
├── Malformed        what came is not HTTP/1.1, or its headers are too large
└── BodyTooLarge     `Response.read` met more than its limit
"""


class HttpError(Exception):
    """Root of this package's errors; the message says what happened, never to which URL."""


class Unsendable(HttpError, ValueError):
    """The request would not survive the wire as meant; nothing was sent."""


class ConnectFailed(HttpError):
    """No connection; nothing was sent."""


class ConnectTimeout(ConnectFailed):
    """No connection within the limit; nothing was sent."""


class ClosedEarly(HttpError):
    """The server hung up before the first byte of a response."""


class ReadTimeout(HttpError):
    """The server went silent."""


class Cut(HttpError):
    """The server hung up within a response."""


class Malformed(HttpError):
    """The server does not speak HTTP/1.1."""


class BodyTooLarge(HttpError):
    """The body is larger than the caller takes."""
