"""Documents into the store: read, compare, chunk, embed, replace.  Behind `appliance ingest`.

Files come from a port, so that this module knows no file system.  A document that cannot be taken
is reported and the rest go on; a part that is down ends the run, and what was stored stays.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.domain.embeddings.ports import Embedder
from appliance.domain.errors import ApplianceError
from appliance.domain.knowledge.chunking import chunk
from appliance.domain.vectorstore.ports import NewChunk, VectorStore

Outcome = Literal["new", "changed", "unchanged", "skipped", "failed"]

_WORKERS = 4  # documents at a time
# A chat that retrieves meanwhile waits behind what is in flight: 16 chunks are 3500 tokens, more
# than a second on two cores.  More would not be faster: one call queued keeps the model busy.
_BATCH = 8  # texts a call to the embedder
_CALLS = 2  # calls in flight
_PROBE = "text"
_WITH_HEADINGS = (".md", ".markdown", ".rst", ".txt")  # elsewhere `# …` is a comment


class Source(Protocol):
    """One document that can be read."""

    @property
    def name(self) -> str:
        """Its path relative to what was ingested; unique in the workspace."""

    @property
    def wanted(self) -> bool:
        """The user means this one: named on the command line, or a text by its extension."""

    def read(self) -> bytes:
        """All its bytes.  Raises Refused when it cannot or should not be taken."""


class Refused(Exception):
    """This document is not taken: `reason` is a phrase; `failed` when the user would miss it."""

    def __init__(self, reason: str, *, failed: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failed = failed


class DocumentStore(VectorStore, Protocol):
    """A VectorStore that tells what it has."""

    async def digests(self, *, workspace: str, model: str) -> dict[str, str]:
        """Name and sha256 (hex) of the documents whose every chunk was embedded by `model`."""

    async def analyze(self) -> None:
        """After many changes: prepare for searching them."""


class ChunkSettings(Protocol):
    """`[knowledge]`, as far as ingest needs it; characters."""

    @property
    def chunk_chars(self) -> int: ...
    @property
    def chunk_overlap_chars(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one document; `reason` when it was skipped or failed."""

    name: str
    outcome: Outcome
    chunks: int = 0
    reason: str = ""


class Ingestor:
    """Puts sources into one workspace, a few at a time."""

    def __init__(
        self, embedder: Embedder, store: DocumentStore, settings: ChunkSettings, *, workspace: str
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._settings = settings
        self._workspace = workspace
        self._calls = asyncio.Semaphore(_CALLS)

    async def ingest(self, sources: Iterable[Source], report: Callable[[Ingested], None]) -> None:
        """Store every source that is new or changed; `report` hears of each as it is done.

        Raises PartUnavailable when the embedder or the store goes away.
        """
        # The role may have another model than this process expects: its answer tells.
        model = (await self._embedder.embed([_PROBE])).model
        # What to compare with: nothing for a new name, an empty digest for chunks of another model.
        stored = {
            document.name: "" for document in await self._store.documents(workspace=self._workspace)
        } | await self._store.digests(workspace=self._workspace, model=model)
        waiting = iter(sources)

        async def work() -> None:
            for source in waiting:
                report(await self._one(source, stored.get(source.name)))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(work())
        except* ApplianceError as failed:
            raise _first(failed) from None
        # Until then PostgreSQL has no idea of the workspace and searches it whole: at 20 000 chunks
        # that is 77 ms instead of 3.5.
        await self._store.analyze()

    async def _one(self, source: Source, stored: str | None) -> Ingested:
        try:
            data = await asyncio.to_thread(source.read)
            text = decode(data, wanted=source.wanted)
        except Refused as no:
            return Ingested(source.name, "failed" if no.failed else "skipped", reason=no.reason)
        digest = hashlib.sha256(data).hexdigest()
        if digest == stored:
            return Ingested(source.name, "unchanged")
        pieces = chunk(
            text,
            size=self._settings.chunk_chars,
            overlap=self._settings.chunk_overlap_chars,
            headings=source.name.lower().endswith(_WITH_HEADINGS),
        )
        chunks = await self._embed([piece.content for piece in pieces])
        await self._store.replace(
            source.name,
            workspace=self._workspace,
            digest=digest,
            size_bytes=len(data),
            model=self._embedder.model,
            chunks=chunks,
        )
        return Ingested(source.name, "new" if stored is None else "changed", len(chunks))

    async def _embed(self, contents: Sequence[str]) -> list[NewChunk]:
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(self._call(contents[at : at + _BATCH]))
                for at in range(0, len(contents), _BATCH)
            ]
        vectors = [vector for call in calls for vector in call.result()]
        pairs = zip(contents, vectors, strict=True)
        return [NewChunk(index, content, vector) for index, (content, vector) in enumerate(pairs)]

    async def _call(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        async with self._calls:
            return (await self._embedder.embed(texts)).vectors


def decode(data: bytes, *, wanted: bool) -> str:
    """The text of a document, lines ended by a newline.  Refused when it is not text, or empty."""
    if b"\0" in data:
        raise Refused("is not text", failed=wanted)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Refused(f"is not UTF-8 (byte {exc.start})", failed=wanted) from exc
    if not text.strip():
        raise Refused("is empty", failed=False)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _first(group: BaseExceptionGroup[ApplianceError]) -> ApplianceError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
