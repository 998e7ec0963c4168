"""The error tree.  Infra translates into it at its edge, each surface encodes from it at its own.

ApplianceError
├── RequestError                 the caller can fix it; `param` names the field
│   ├── InvalidRequest           400
│   │   └── ContextLengthExceeded  the prompt is longer than the model's context
│   ├── AuthenticationFailed     401
│   ├── PermissionDenied         403
│   ├── NotFound                 404
│   │   └── ModelNotFound
│   ├── MethodNotAllowed         405
│   └── RequestTooLarge          413
├── BackendError                 `backend` names the server that failed
│   ├── BackendUnavailable       no connection, or it died before it answered
│   ├── BackendTimeout           it did not answer in time
│   ├── BackendRefused           it answered with a status: `status`, `message`, `body`
│   ├── BackendProtocolError     it answered something that is not its own dialect, or was cut
│   └── BackendBusy              every slot taken and the queue too long; `retry_after_s`
├── PartUnavailable              `part` of the appliance is down: inference, postgres, nats,
spool
└── ConfigError                  file, table and key are in the message
"""


class ApplianceError(Exception):
    """Root of every error this application raises on purpose; `str()` is fit to show a caller."""


class RequestError(ApplianceError):
    """The request cannot be served as sent; `param` is the field at fault, in the wire's words."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class InvalidRequest(RequestError):
    """Malformed, of the wrong type, or out of range."""


class ContextLengthExceeded(InvalidRequest):
    """The prompt is longer than the model's context window."""


class AuthenticationFailed(RequestError):
    """No key, or one nobody issued."""


class PermissionDenied(RequestError):
    """The key, Host or Origin is known and not allowed to do this."""


class NotFound(RequestError):
    """No such resource or route."""


class ModelNotFound(NotFound):
    """No configured backend serves a model of this name."""


class MethodNotAllowed(RequestError):
    """The route exists and does not answer this HTTP method."""


class RequestTooLarge(RequestError):
    """The body is larger than `[gateway] max_body_bytes`."""


class BackendError(ApplianceError):
    """A backend failed; `backend` is its configured name."""

    def __init__(self, message: str, *, backend: str) -> None:
        super().__init__(message)
        self.backend = backend


class BackendUnavailable(BackendError):
    """It refused the connection, or closed it before the first byte of an answer."""


class BackendTimeout(BackendError):
    """It did not answer, or stopped answering, within its limit."""


class BackendRefused(BackendError):
    """It answered with an HTTP error: `status`, its own `message`, and `code` and `kind` if it
    named any."""

    def __init__(
        self,
        message: str,
        *,
        backend: str,
        status: int,
        code: str | None = None,
        kind: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, backend=backend)
        self.status = status
        self.code = code
        self.kind = kind
        self.retry_after_s = retry_after_s


class BackendProtocolError(BackendError):
    """Its answer is not its dialect, names an error in band, or ended before it was whole."""


class BackendBusy(BackendError):
    """All `max_in_flight` slots are taken and waiting did not free one; try after
    `retry_after_s`."""

    def __init__(self, message: str, *, backend: str, retry_after_s: float) -> None:
        super().__init__(message, backend=backend)
        self.retry_after_s = retry_after_s


class PartUnavailable(ApplianceError):
    """A part of the appliance itself is down; `part` is its name in `/ready`."""

    def __init__(self, message: str, *, part: str) -> None:
        super().__init__(message)
        self.part = part


class ConfigError(ApplianceError):
    """The configuration cannot be used; the message names file, table and key."""
