"""Documents and their embedded chunks in PostgreSQL with pgvector, for ingest and retrieval.

Vectors travel as text (`[0.1,…]`): pgvector's own adapter imports numpy, too big for the gateway.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg

from appliance.domain.errors import PartUnavailable
from appliance.domain.vectorstore.ports import FoundChunk, NewChunk, StoredDocument, Vector
from appliance.infra.postgres.pool import Connection, PostgresPool

# Without the iterative scan a filter that keeps 1 % of the rows leaves 0.4 of 10 hits.
_SCAN = "SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = {ef_search}"
_SEARCH = """
SELECT d.name, c.chunk_index, c.content, 1 - (c.embedding <=> %(vector)s::vector) AS score
FROM document_chunks c JOIN documents d ON d.id = c.document_id
WHERE c.workspace = %(workspace)s AND c.model = %(model)s
ORDER BY c.embedding <=> %(vector)s::vector
LIMIT %(limit)s
"""
_DOCUMENTS = """
SELECT d.name, d.workspace, d.digest, d.size_bytes, count(c.id), d.updated_at
FROM documents d LEFT JOIN document_chunks c ON c.document_id = d.id
WHERE (%(workspace)s::text IS NULL OR d.workspace = %(workspace)s)
  AND (%(name)s::text IS NULL OR d.name = %(name)s)
GROUP BY d.id ORDER BY d.workspace, d.name
"""
_DIGESTS = """
SELECT d.name, d.digest FROM documents d JOIN document_chunks c ON c.document_id = d.id
WHERE d.workspace = %(workspace)s GROUP BY d.id HAVING bool_and(c.model = %(model)s)
"""
_PUT = """
INSERT INTO documents (workspace, name, digest, size_bytes) VALUES (%s, %s, %s, %s)
ON CONFLICT (workspace, name) DO UPDATE
SET digest = excluded.digest, size_bytes = excluded.size_bytes, updated_at = now()
RETURNING id
"""
_COPY = """
COPY document_chunks (document_id, workspace, chunk_index, content, embedding, model) FROM STDIN
"""


class PgVectorStore:
    """domain.vectorstore.ports.VectorStore over `pool`, and the digests ingest compares."""

    def __init__(self, pool: PostgresPool, *, ef_search: int = 100) -> None:
        self._pool = pool
        self._scan = _SCAN.format(ef_search=int(ef_search)).encode()

    async def search(
        self, vector: Vector, *, workspace: str, model: str, limit: int
    ) -> list[FoundChunk]:
        """The `limit` nearest chunks of the workspace, best first (HNSW, iterative scan)."""
        values = {
            "vector": vector_text(vector),
            "workspace": workspace,
            "model": model,
            "limit": limit,
        }
        async with self._transaction() as connection:
            await connection.execute(self._scan)
            # Planned anew each time: the best plan depends on how large this workspace is.
            cursor = await connection.execute(_SEARCH, values, prepare=False)
            return [FoundChunk(*row) for row in await cursor.fetchall()]

    async def document(self, name: str, *, workspace: str) -> StoredDocument | None:
        """What is stored under `name`, or None."""
        return next(iter(await self._documents(name, workspace)), None)

    async def documents(self, *, workspace: str | None = None) -> list[StoredDocument]:
        """All documents, by workspace and name."""
        return await self._documents(None, workspace)

    async def digests(self, *, workspace: str, model: str) -> dict[str, str]:
        """Name and sha256 of the documents whose every chunk was embedded by `model`."""
        async with self._transaction() as connection:
            cursor = await connection.execute(_DIGESTS, {"workspace": workspace, "model": model})
            return {str(name): str(digest) for name, digest in await cursor.fetchall()}

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
        """Put the document in place of what was stored under `name`, in one transaction."""
        async with self._transaction() as connection:
            cursor = await connection.execute(_PUT, (workspace, name, digest, size_bytes))
            row = await cursor.fetchone()
            assert row is not None  # RETURNING of an upsert
            await connection.execute("DELETE FROM document_chunks WHERE document_id = %s", row)
            async with connection.cursor() as copying, copying.copy(_COPY) as copy:
                for chunk in chunks:
                    await copy.write_row(
                        (
                            row[0],
                            workspace,
                            chunk.index,
                            chunk.content,
                            vector_text(chunk.vector),
                            model,
                        )
                    )

    async def remove(self, name: str, *, workspace: str) -> bool:
        """Remove the document and its chunks; False when there was none."""
        async with self._transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM documents WHERE workspace = %s AND name = %s", (workspace, name)
            )
            return cursor.rowcount > 0

    async def analyze(self) -> None:
        """Count what is there for the planner: after many changes, before the next search."""
        async with self._transaction() as connection:
            await connection.execute("ANALYZE documents, document_chunks")

    async def _documents(self, name: str | None, workspace: str | None) -> list[StoredDocument]:
        async with self._transaction() as connection:
            cursor = await connection.execute(_DOCUMENTS, {"name": name, "workspace": workspace})
            return [StoredDocument(*row) for row in await cursor.fetchall()]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.transaction() as connection:
                yield connection
        except psycopg.Error as exc:  # a vector of another size, a NUL: the store cannot serve this
            raise PartUnavailable(f"PostgreSQL: {str(exc).strip()}", part="postgres") from exc


def vector_text(vector: Vector) -> str:
    """As a parameter that is cast to `vector`."""
    return f"[{','.join(map(repr, map(float, vector)))}]"
