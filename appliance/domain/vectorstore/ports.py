"""The store of embedded chunks, as ingest and retrieval need it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A piece of a document, ready to store: `vector` has 256 numbers and unit length."""

    index: int
    content: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One row of `documents`: `name` is its path relative to what was ingested."""

    name: str
    workspace: str
    digest: str  # sha256 of its bytes, hex
    size_bytes: int
    chunks: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk the search found: `score` is the cosine similarity, 1 is the same direction."""

    document: str
    index: int
    content: str
    score: float


class VectorStore(Protocol):
    """Every vector belongs to the model that made it; vectors of two models are never compared.

    All methods raise PartUnavailable(part="postgres") when the database cannot be reached.
    """

    async def search(
        self, vector: Vector, *, workspace: str, model: str, limit: int
    ) -> list[FoundChunk]:
        """The `limit` nearest chunks of the workspace, best first (HNSW, iterative scan)."""

    async def document(self, name: str, *, workspace: str) -> StoredDocument | None: ...

    async def documents(self, *, workspace: str | None = None) -> list[StoredDocument]: ...

    async def replace(
        self,
        name: str,
        *,
        workspace: str,
        digest: str,
        size_bytes: int,
        model: str,
        chunks: Sequence[NewChunk],
    ) -> None:
        """Put the document and its chunks in place of what was stored under `name`, in one
        transaction."""

    async def remove(self, name: str, *, workspace: str) -> bool:
        """Remove the document and its chunks; False when there was none."""
