"""The inference role's client: embeddings for the gateway and the commands.

Speaks text-embeddings-inference's `/embed`, float32 in the answer.  On the request path, so it
imports no numpy.  Never retries a failure; only an overloaded role is asked again, until the time
is up.
"""

import array
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager

import msgspec

from appliance.config.schema import InferenceConfig
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.errors import ContextLengthExceeded, InvalidRequest, PartUnavailable
from appliance.domain.identity import Identity
from appliance.domain.vectorstore.ports import Vector
from appliance.infra.http.client import HttpClient, Response, Target
from appliance.infra.http.errors import ConnectFailed, HttpError, ReadTimeout
from appliance.infra.onnx.spec import DIMENSIONS, VECTOR_MODEL

_BATCH_TEXTS = 32  # text-embeddings-inference's default max_client_batch_size
_BATCH_CHARS = 256 * 1024
_OVERLOADED_WAIT_S = 0.1
_ANSWER_BYTES = 4 * DIMENSIONS * _BATCH_TEXTS + 64 * 1024
_HEADERS = {"content-type": "application/json", "accept": "application/octet-stream"}


class _Failure(msgspec.Struct):
    error: str = ""
    error_type: str = ""


class InferenceClient:
    """Implements domain.embeddings.ports.Embedder.  Opens nothing until it is asked."""

    def __init__(self, config: InferenceConfig, http: HttpClient) -> None:
        self._http = http
        self._timeout_s = config.timeout_s
        base = Target.parse(config.url) if config.url else None
        self._embed_at = base.at("/embed") if base else None
        self._ready_at = base.at("/ready") if base else None
        self._model = VECTOR_MODEL

    @property
    def model(self) -> str:
        """What is stored beside the vectors: the role's `x-model` once it has answered."""
        return self._model

    async def embed(
        self, texts: Sequence[str], *, truncate: bool = True, identity: Identity | None = None
    ) -> Embedded:
        """One unit-length vector of 256 for each text, in order; asks in batches, one after the
        other.

        Raises ContextLengthExceeded when a text is too long and `truncate` is False,
        InvalidRequest for an empty text, PartUnavailable(part="inference") otherwise, after
        `[inference] timeout_s` a batch.
        """
        vectors: list[Vector] = []
        input_tokens: int | None = 0
        headers = _headers(identity)
        for batch in _batches(texts):
            data, read = await self._post(_body(batch, truncate), headers, len(batch))
            vectors += _rows(data)
            input_tokens = None if read is None or input_tokens is None else input_tokens + read
        return Embedded(vectors, self._model, input_tokens)

    async def ping(self) -> None:
        """Raises PartUnavailable unless the role is ready."""
        target = _known(self._ready_at)
        with _http_errors():
            response = await self._http.send("GET", target, {}, timeout_s=self._timeout_s)
            async with aclosing(response):
                await response.read(_ANSWER_BYTES, self._timeout_s)
        if response.status != 200:
            raise _unavailable(f"answered its readiness check with {response.status}")

    async def _post(
        self, body: bytes, headers: Mapping[str, str], count: int
    ) -> tuple[bytes, int | None]:
        """The float32 rows of one batch, and the tokens read where the role says so."""
        target = _known(self._embed_at)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    with _http_errors():
                        response = await self._http.send(
                            "POST", target, headers, body, timeout_s=self._timeout_s
                        )
                        async with aclosing(response):
                            data = await response.read(_ANSWER_BYTES, self._timeout_s)
                    if response.status != 429:
                        break
                    await asyncio.sleep(_OVERLOADED_WAIT_S)
        except TimeoutError:
            raise _unavailable(f"did not answer within {self._timeout_s:g} s") from None
        if response.status != 200:
            raise _refused(response.status, data)
        self._check_shape(response, data, count)
        tokens = response.header("x-input-tokens")
        return data, int(tokens) if tokens and tokens.isdecimal() else None

    def _check_shape(self, response: Response, data: bytes, count: int) -> None:
        shape = response.header("x-shape")
        if shape != f"{count},{DIMENSIONS}" or len(data) != 4 * count * DIMENSIONS:
            raise _unavailable(f"answered vectors of shape {shape} for {count} texts")
        self._model = response.header("x-model") or self._model


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Runs of `texts` small enough for one request."""
    begin, chars = 0, 0
    for end, text in enumerate(texts):
        if end > begin and (end - begin == _BATCH_TEXTS or chars + len(text) > _BATCH_CHARS):
            yield texts[begin:end]
            begin, chars = end, 0
        chars += len(text)
    if begin < len(texts):
        yield texts[begin:]


def _headers(identity: Identity | None) -> Mapping[str, str]:
    if identity is None:
        return _HEADERS
    ids = {"x-correlation-id": identity.correlation_id, "x-request-id": identity.trace_id}
    return _HEADERS | ids


def _body(batch: Sequence[str], truncate: bool) -> bytes:
    try:
        return msgspec.json.encode({"inputs": batch, "truncate": truncate})
    except UnicodeEncodeError as exc:
        raise InvalidRequest("a text to embed is not valid Unicode", param="input") from exc


def _rows(data: bytes) -> Iterator[list[float]]:
    numbers = array.array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    for begin in range(0, len(numbers), DIMENSIONS):
        yield numbers[begin : begin + DIMENSIONS].tolist()


def _known(target: Target | None) -> Target:
    if target is None:
        raise _unavailable("is not configured ([inference] url)")
    return target


def _refused(status: int, body: bytes) -> Exception:
    try:
        failure = msgspec.json.decode(body, type=_Failure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        failure = _Failure()
    if status == 413 and "tokens" in failure.error:
        return ContextLengthExceeded(failure.error, param="input")
    if status in (400, 422) and failure.error:
        return InvalidRequest(failure.error, param="input")
    return _unavailable(f"answered {status}: {failure.error or 'without a reason'}")


def _unavailable(what: str) -> PartUnavailable:
    return PartUnavailable(f"the inference role {what}", part="inference")


@contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except ConnectFailed as exc:
        raise _unavailable("cannot be reached") from exc
    except ReadTimeout as exc:
        raise _unavailable("did not answer in time") from exc
    except HttpError as exc:
        raise _unavailable(f"failed: {exc}") from exc
