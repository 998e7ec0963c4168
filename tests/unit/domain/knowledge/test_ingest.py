import hashlib
from dataclasses import dataclass

import pytest

from appliance.config.schema import KnowledgeConfig
from appliance.domain.errors import PartUnavailable
from appliance.domain.knowledge.ingest import Ingested, Ingestor, Refused
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore


@dataclass
class Page:
    name: str
    data: bytes
    wanted: bool = True

    def read(self) -> bytes:
        if self.data == b"refuse":
            raise Refused("is too large", failed=True)
        return self.data


async def _ingest(
    store: MemoryStore, *pages: Page, embedder: WordEmbedder | None = None, **settings: int
) -> dict[str, Ingested]:
    heard: list[Ingested] = []
    config = KnowledgeConfig(**settings)  # type: ignore[arg-type]
    ingestor = Ingestor(embedder or WordEmbedder(), store, config, workspace="w")
    await ingestor.ingest(pages, heard.append)
    assert len(heard) == len(pages)
    return {document.name: document for document in heard}


async def test_new_changed_and_unchanged_documents_are_told_apart() -> None:
    store, embedder = MemoryStore(), WordEmbedder()
    await _ingest(store, Page("a", b"one"), Page("b", b"two"))
    heard = await _ingest(
        store, Page("a", b"one"), Page("b", b"zwei"), Page("c", b"three"), embedder=embedder
    )
    assert {name: d.outcome for name, d in heard.items()} == {
        "a": "unchanged",
        "b": "changed",
        "c": "new",
    }
    assert sorted(embedder.texts[1:]) == ["three", "zwei"]  # the first asks for the model
    assert store.analyzed == 2


async def test_a_document_of_another_model_is_embedded_again() -> None:
    store = MemoryStore()
    await _ingest(store, Page("a", b"one"))
    heard = await _ingest(store, Page("a", b"one"), embedder=WordEmbedder("new"))
    assert heard["a"].outcome == "changed"
    assert store.rows["w", "a"][1] == "new"


async def test_chunks_are_stored_in_order_with_the_digest_of_the_bytes() -> None:
    data = b"# T\r\n\r\n" + b"Words that go on. " * 300
    store = MemoryStore()
    heard = await _ingest(store, Page("a.md", data), chunk_chars=200, chunk_overlap_chars=0)
    document, _, chunks = store.rows["w", "a.md"]
    assert document.digest == hashlib.sha256(data).hexdigest()
    assert document.size_bytes == len(data)
    assert [c.index for c in chunks] == list(range(heard["a.md"].chunks))
    assert len(chunks) > 20
    for stored in chunks:
        assert stored.vector == (await WordEmbedder().embed([stored.content])).vectors[0]
    assert "\r" not in "".join(c.content for c in chunks)


async def test_what_cannot_be_taken_is_told_and_the_rest_goes_on() -> None:
    store = MemoryStore()
    heard = await _ingest(
        store,
        Page("big", b"refuse"),
        Page("latin.md", b"caf\xe9"),
        Page("photo", b"\x89PNG\0", wanted=False),
        Page("empty", b" \n"),
        Page("good", b"text"),
    )
    assert {name: (d.outcome, d.reason) for name, d in heard.items()} == {
        "big": ("failed", "is too large"),
        "latin.md": ("failed", "is not UTF-8 (byte 3)"),
        "photo": ("skipped", "is not text"),
        "empty": ("skipped", "is empty"),
        "good": ("new", ""),
    }
    assert store.replaced == ["good"]


async def test_embedding_runs_side_by_side_and_within_a_bound() -> None:
    embedder = WordEmbedder(delay_s=0.01)
    pages = [Page(str(n), b"Words that go on. " * 2000) for n in range(6)]
    await _ingest(MemoryStore(), *pages, embedder=embedder, chunk_chars=100, chunk_overlap_chars=0)
    assert embedder.most_in_flight == 2


async def test_a_part_that_goes_away_ends_the_run_with_its_name() -> None:
    embedder = WordEmbedder()
    embedder.down = True
    store = MemoryStore()
    with pytest.raises(PartUnavailable) as failed:
        await _ingest(store, Page("a", b"one"), embedder=embedder)
    assert failed.value.part == "inference"
    assert store.rows == {}


async def test_headings_are_read_in_documents_and_not_in_programs() -> None:
    store, data = MemoryStore(), b"# One\n\ntext\n\n# Two\n\ntext\n"
    heard = await _ingest(store, Page("a.MD", data), Page("a.py", data))
    assert {name: d.chunks for name, d in heard.items()} == {"a.MD": 2, "a.py": 1}
