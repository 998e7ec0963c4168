"""How a backend fails, in our words: the edge where transport errors and error bodies become the
error tree."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from appliance.domain.errors import (
    ApplianceError,
    BackendError,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContextLengthExceeded,
)
from appliance.infra.http import errors as http
from appliance.infra.http.client import Response
from appliance.infra.http.sse import SseEventTooLarge

MAX_RETRY_AFTER_S = 86400.0  # a header may say anything, 400 digits included
# llama.cpp names the type and an integer code, OpenAI a code, vLLM and LM Studio only say it.
_CONTEXT_NAMES = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_CONTEXT_WORDS = re.compile(
    r"maximum context length|context length of only|exceeds? the (available )?context"
    r"|context window|longer than the maximum model length|greater than the context length",
    re.IGNORECASE,
)


class BackendErrors:
    """A context that translates what the HTTP client raises; made once a backend, entered often.

    A class and not a generator: it is entered twice a request.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: object
    ) -> None:
        if isinstance(exc, http.HttpError | SseEventTooLarge):
            raise self._translated(exc) from exc

    def _translated(self, exc: Exception) -> BackendError:
        text = f"backend {self._backend}: {exc}"
        if isinstance(exc, http.ConnectFailed | http.ClosedEarly):
            return BackendUnavailable(text, backend=self._backend)
        if isinstance(exc, http.ReadTimeout):
            return BackendTimeout(text, backend=self._backend)
        return BackendProtocolError(text, backend=self._backend)


def refused(backend: str, response: Response, raw: bytes) -> ApplianceError:
    """The error of an answer whose status is not 200."""
    told = _told(raw)
    message = told.get("message") or f"answered {response.status} ({_kind_of(response)})"
    if response.status in (400, 413, 422) and _is_context(told):
        return _context_error(backend, message)
    status = response.status if response.status >= 400 else 502
    return BackendRefused(
        f"backend {backend}: {message}",
        backend=backend,
        status=status,
        code=told.get("code"),
        kind=told.get("type"),
        retry_after_s=_retry_after_s(response),
    )


def in_band_error(backend: str, error: Any) -> ApplianceError:
    """The error of a body or chunk that carries `error` under a 200."""
    told = _words(error)
    if _is_context(told):
        return _context_error(backend, told.get("message", ""))
    message = told.get("message") or "reported an error without a message"
    return BackendProtocolError(f"backend {backend}: {message}", backend=backend)


def _context_error(backend: str, message: str) -> ContextLengthExceeded:
    return ContextLengthExceeded(
        f"The prompt exceeds the model's context window (backend {backend}: {message})",
        param="messages",
    )


def _told(raw: bytes) -> dict[str, str]:
    """message, type and code of an error body; empty where it is not JSON of a known shape."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return _words(body.get("error", body))


def _words(error: Any) -> dict[str, str]:
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    named = {key: error.get(key) for key in ("message", "type", "code")}
    return {key: value for key, value in named.items() if isinstance(value, str) and value}


def _is_context(told: dict[str, str]) -> bool:
    names = {told.get("code"), told.get("type")}
    return bool(names & _CONTEXT_NAMES) or bool(_CONTEXT_WORDS.search(told.get("message", "")))


def _kind_of(response: Response) -> str:
    return (response.header("content-type") or "no content type").partition(";")[0]


def _retry_after_s(response: Response) -> float | None:
    value = response.header("retry-after")
    if not value:
        return None
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value) - datetime.now(UTC)
    except (TypeError, ValueError):
        return None
    return min(max(0.0, until.total_seconds()), MAX_RETRY_AFTER_S)
