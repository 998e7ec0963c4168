"""The inference role's client: embeddings for the gateway and the commands.

Speaks text-embeddings-inference's `/embed`, float32 in the answer.  On the request path, so it
imports no numpy.  How the role is asked is in `role.py`.
"""

import array
import sys
from collections.abc import Iterator, Sequence

from appliance.config.schema import InferenceConfig
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.identity import Identity
from appliance.domain.vectorstore.ports import Vector
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.role import Answered, Role, encoded, refused, unavailable
from appliance.infra.onnx.spec import DIMENSIONS, VECTOR_MODEL

_BATCH_TEXTS = 32  # text-embeddings-inference's default max_client_batch_size
_BATCH_CHARS = 256 * 1024
_ANSWER_BYTES = 4 * DIMENSIONS * _BATCH_TEXTS + 64 * 1024
_HEADERS = {"content-type": "application/json", "accept": "application/octet-stream"}


class InferenceClient:
    """Implements domain.embeddings.ports.Embedder.  Opens nothing until it is asked."""

    def __init__(self, config: InferenceConfig, http: HttpClient) -> None:
        self._role = Role(config.url, http)
        self._timeout_s = config.timeout_s
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
        RequestTooLarge when one has megabytes, InvalidRequest for an empty text,
        PartUnavailable(part="inference") otherwise, after `[inference] timeout_s` a batch.
        """
        vectors: list[Vector] = []
        input_tokens: int | None = 0
        for batch in _batches(texts):
            body = encoded({"inputs": batch, "truncate": truncate}, "input")
            answered = await self._post(body, identity, len(batch))
            vectors += _rows(answered.body)
            read = answered.input_tokens
            input_tokens = None if read is None or input_tokens is None else input_tokens + read
        return Embedded(vectors, self._model, input_tokens)

    async def ping(self) -> None:
        """Raises PartUnavailable unless the role is ready."""
        answered = await self._role.get("/ready", _ANSWER_BYTES, self._timeout_s)
        if answered.status != 200:
            raise unavailable(f"answered its readiness check with {answered.status}")

    async def _post(self, body: bytes, identity: Identity | None, count: int) -> Answered:
        """The float32 rows of one batch."""
        answered = await self._role.post(
            "/embed", _HEADERS, body, identity, _ANSWER_BYTES, self._timeout_s
        )
        if answered.status != 200:
            raise refused(answered, "input")
        shape = answered.response.header("x-shape")
        if shape != f"{count},{DIMENSIONS}" or len(answered.body) != 4 * count * DIMENSIONS:
            raise unavailable(f"answered vectors of shape {shape} for {count} texts")
        self._model = answered.response.header("x-model") or self._model
        return answered


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


def _rows(data: bytes) -> Iterator[list[float]]:
    numbers = array.array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    for begin in range(0, len(numbers), DIMENSIONS):
        yield numbers[begin : begin + DIMENSIONS].tolist()
