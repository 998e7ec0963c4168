"""Bodies and errors as text-embeddings-inference has them."""

from collections.abc import Callable
from typing import TypeVar

import falcon.asgi
import msgspec

from appliance.domain.errors import (
    ApplianceError,
    BackendBusy,
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)

JSON = "application/json"
T = TypeVar("T")


def parse(decode: Callable[[bytes], T], body: bytes) -> T:
    """Raises InvalidRequest."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRequest(
            f"Failed to deserialize the JSON body into the target type: {exc}"
        ) from exc


def failure(error: ApplianceError) -> tuple[int, str]:
    """Status and `error_type`."""
    match error:
        case ContextLengthExceeded() | RequestTooLarge():
            return 413, "Validation"
        case InvalidRequest(code="empty"):
            return 400, "Empty"
        case InvalidRequest():
            return 422, "Tokenizer"
        case BackendBusy():
            return 429, "Overloaded"
        case PartUnavailable():
            return 424, "Backend"
        case _:
            return 500, "Backend"


def put_failure(resp: falcon.asgi.Response, status: int, message: str, error_type: str) -> None:
    """The whole error response."""
    resp.status = status
    resp.content_type = JSON
    resp.data = msgspec.json.encode({"error": message, "error_type": error_type})
    if status == 429:
        resp.set_header("retry-after", "1")
