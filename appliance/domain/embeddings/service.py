"""Embeddings for callers: our own model through the inference role, others through their
backend."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.domain.chat.slots import Slots
from appliance.domain.conversation.request import Extensions
from appliance.domain.conversation.usage import count_of
from appliance.domain.embeddings.ports import Embedded, Embedder
from appliance.domain.errors import BackendProtocolError, BackendTimeout, InvalidRequest
from appliance.domain.identity import Identity
from appliance.domain.routing.names import same
from appliance.domain.routing.router import AUTO, Router
from appliance.domain.vectorstore.ports import Vector

MODEL = "all-minilm-l6-v2"
DIMENSIONS = 256


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """`dimensions` None: all of the model's; `params` are fields only a backend of the same wire
    knows: they go to backends of `dialect`, to any where that is empty.  `truncate`: of a text that
    is too long for our own model the beginning will do."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    extensions: Extensions = field(default_factory=Extensions)
    dialect: str = ""
    truncate: bool = False


class EmbeddingBackend(Protocol):
    """A backend that embeds in OpenAI's wire."""

    @property
    def dialect(self) -> str: ...

    async def embed(
        self,
        inputs: Sequence[Any],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity | None = None,
    ) -> dict[str, Any]:
        """The backend's body.  Raises the BackendError tree."""


class EmbeddingService:
    """Unit-length vectors in the order of the texts."""

    def __init__(
        self,
        embedder: Embedder,
        router: Router,
        backends: Mapping[str, EmbeddingBackend],
        slots: Mapping[str, Slots],
        *,
        total_s: float,
    ) -> None:
        self._embedder = embedder
        self._router = router
        self._backends = backends
        self._slots = slots
        self._total_s = total_s

    async def embed(self, request: EmbeddingRequest, identity: Identity | None = None) -> Embedded:
        """Raises InvalidRequest, ContextLengthExceeded, ModelNotFound, PartUnavailable,
        BackendError."""
        if request.model in AUTO or same(request.model, MODEL):
            return await self._ours(request, identity)
        try:
            async with asyncio.timeout(self._total_s):
                return await self._theirs(request, identity)
        except TimeoutError:
            raise BackendTimeout(
                f"no embeddings within {self._total_s:g} s", backend=request.model
            ) from None

    async def _ours(self, request: EmbeddingRequest, identity: Identity | None) -> Embedded:
        wanted = request.dimensions
        if wanted is not None and not 1 <= wanted <= DIMENSIONS:
            raise InvalidRequest(
                f"dimensions must be between 1 and {DIMENSIONS} for {MODEL}", param="dimensions"
            )
        found = await self._embedder.embed(
            request.texts, truncate=request.truncate, identity=identity
        )
        vectors: list[Vector] = found.vectors
        if wanted is not None and wanted < DIMENSIONS:
            vectors = [shortened(vector, wanted) for vector in vectors]
        return Embedded(vectors, MODEL, found.input_tokens)

    async def _theirs(self, request: EmbeddingRequest, identity: Identity | None) -> Embedded:
        plan = await self._router.plan(request.model)
        candidate = plan.candidates[0]
        backend = self._backends[candidate.backend]
        fields = dict(request.params) if request.dialect in ("", backend.dialect) else {}
        if request.dimensions is not None:
            fields["dimensions"] = request.dimensions
        async with self._slots[candidate.backend].slot():
            body = await backend.embed(request.texts, candidate.upstream_model, fields, identity)
        try:
            rows = {row["index"]: row["embedding"] for row in body["data"]}
            if len(rows) != len(request.texts):
                raise ValueError("not a vector for each text")
            vectors: list[Vector] = [[float(x) for x in rows[n]] for n in range(len(rows))]
        except (KeyError, TypeError, ValueError) as exc:
            raise BackendProtocolError(
                f"backend {candidate.backend} answered without embeddings",
                backend=candidate.backend,
            ) from exc
        usage = body.get("usage")
        tokens = count_of(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
        return Embedded(vectors, request.model, tokens, candidate.backend, backend.dialect)


def shortened(vector: Vector, dimensions: int) -> list[float]:
    """The first `dimensions` numbers at unit length again (principal components come in order of
    weight)."""
    head = list(vector[:dimensions])
    length = math.sqrt(math.fsum(x * x for x in head)) or 1.0
    return [x / length for x in head]
