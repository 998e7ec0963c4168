"""A vector store in memory: exact search, and a switch for being down or slow."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from appliance.domain.errors import PartUnavailable
from appliance.domain.vectorstore.ports import FoundChunk, NewChunk, StoredDocument, Vector


class MemoryStore:
    """`rows` by (workspace, name): the document, its model and its chunks."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.rows: dict[tuple[str, str], tuple[StoredDocument, str, list[NewChunk]]] = {}
        self.delay_s = delay_s
        self.down = False
        self.searches = 0
        self.replaced: list[str] = []
        self.analyzed = 0

    async def search(
        self, vector: Vector, *, workspace: str, model: str, limit: int
    ) -> list[FoundChunk]:
        self.searches += 1
        await self._reach()
        found = [
            FoundChunk(name, c.index, c.content, sum(map(float.__mul__, vector, c.vector)))
            for (where, name), (_, made_by, chunks) in self.rows.items()
            for c in chunks
            if where == workspace and made_by == model
        ]
        return sorted(found, key=lambda chunk: -chunk.score)[:limit]

    async def document(self, name: str, *, workspace: str) -> StoredDocument | None:
        await self._reach()
        row = self.rows.get((workspace, name))
        return row[0] if row else None

    async def documents(self, *, workspace: str | None = None) -> list[StoredDocument]:
        await self._reach()
        return [row[0] for (where, _), row in self.rows.items() if workspace in (None, where)]

    async def digests(self, *, workspace: str, model: str) -> dict[str, str]:
        await self._reach()
        return {
            name: document.digest
            for (where, name), (document, made_by, _) in self.rows.items()
            if where == workspace and made_by == model
        }

    async def replace(
        self, name: str, *, workspace: str, digest: str, size_bytes: int, model: str,
        chunks: Sequence[NewChunk],
    ) -> None:  # fmt: skip
        await self._reach()
        document = StoredDocument(
            name, workspace, digest, size_bytes, len(chunks), datetime.now(UTC)
        )
        self.rows[workspace, name] = (document, model, list(chunks))
        self.replaced.append(name)

    async def remove(self, name: str, *, workspace: str) -> bool:
        await self._reach()
        return self.rows.pop((workspace, name), None) is not None

    async def analyze(self) -> None:
        await self._reach()
        self.analyzed += 1

    async def _reach(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.down:
            raise PartUnavailable("PostgreSQL: connection refused", part="postgres")
