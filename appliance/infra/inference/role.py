"""How the inference role is asked, whatever for; under `client.py` and `rerank.py`.

Never retries a failure; only an overloaded role is asked again, until the time is up.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.domain.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.identity import Identity
from appliance.infra.http.client import HttpClient, Response, Target
from appliance.infra.http.errors import ConnectFailed, HttpError, ReadTimeout
from appliance.infra.onnx.spec import MAX_BODY_BYTES

# Twice as long each time: the whole body is sent again, and it may have megabytes.
_OVERLOADED_WAIT_S, _MOST_WAIT_S = 0.1, 1.0
_OVERLOADED = 429


class _Failure(msgspec.Struct):
    error: str = ""
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, whatever its status."""

    response: Response
    body: bytes

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def input_tokens(self) -> int | None:
        """What the model read, where the role says so."""
        tokens = self.response.header("x-input-tokens")
        return int(tokens) if tokens and tokens.isdecimal() else None

    @property
    def error(self) -> str:
        """Its words for a failure; "" without any."""
        try:
            return msgspec.json.decode(self.body, type=_Failure).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""


class Role:
    """The role at `url`; "" is none.  Everything raises PartUnavailable(part="inference") when
    there is no answer in time."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self._http = http
        self._base = Target.parse(url) if url else None

    async def get(self, path: str, limit_bytes: int, timeout_s: float) -> Answered:
        """The answer to GET `path`, of at most `limit_bytes`."""
        return await self._send("GET", self._at(path), {}, b"", limit_bytes, timeout_s)

    async def post(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        identity: Identity | None,
        limit_bytes: int,
        timeout_s: float,
    ) -> Answered:
        """The answer to POST `path`, asked again while the role is overloaded; `identity` names the
        exchange it belongs to."""
        target, wait_s = self._at(path), _OVERLOADED_WAIT_S
        headers = {**headers, **_ids(identity)}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    answered = await self._send(
                        "POST", target, headers, body, limit_bytes, timeout_s
                    )
                    if answered.status != _OVERLOADED:
                        return answered
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _MOST_WAIT_S)
        except TimeoutError:
            raise unavailable(f"did not answer within {timeout_s:g} s") from None

    async def _send(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
        limit_bytes: int,
        timeout_s: float,
    ) -> Answered:
        with _http_errors():
            response = await self._http.send(method, target, headers, body, timeout_s=timeout_s)
            async with aclosing(response):
                return Answered(response, await response.read(limit_bytes, timeout_s))

    def _at(self, path: str) -> Target:
        if self._base is None:
            raise unavailable("is not configured ([inference] url)")
        return self._base.at(path)


def encoded(fields: Mapping[str, Any], param: str) -> bytes:
    """The body of a request; `param` is the caller's field with the texts.  Raises InvalidRequest
    for half a character, RequestTooLarge for more than the role takes, before a byte is sent."""
    try:
        body = msgspec.json.encode(fields)
    except UnicodeEncodeError as exc:
        raise InvalidRequest("a text is not valid Unicode", param=param) from exc
    if len(body) > MAX_BODY_BYTES:
        raise RequestTooLarge(
            f"{param} makes {len(body)} bytes for the inference role, which takes {MAX_BODY_BYTES}"
            " in one request",
            param=param,
        )
    return body


def refused(answered: Answered, param: str) -> Exception:
    """What an answer other than 200 means; `param` is the caller's field with the texts."""
    error = answered.error
    if answered.status == 413 and "tokens" in error:
        return ContextLengthExceeded(error, param=param)
    if answered.status == 413:
        return RequestTooLarge(f"the inference role: {error}", param=param)
    if answered.status in (400, 422) and error:
        return InvalidRequest(error, param=param)
    return unavailable(f"answered {answered.status}: {error or 'without a reason'}")


def unavailable(what: str) -> PartUnavailable:
    """The role did that, or is so."""
    return PartUnavailable(f"the inference role {what}", part="inference")


def _ids(identity: Identity | None) -> Mapping[str, str]:
    if identity is None:
        return {}
    return {"x-correlation-id": identity.correlation_id, "x-request-id": identity.trace_id}


@contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except ConnectFailed as exc:
        raise unavailable("cannot be reached") from exc
    except ReadTimeout as exc:
        raise unavailable("did not answer in time") from exc
    except HttpError as exc:
        raise unavailable(f"failed: {exc}") from exc
