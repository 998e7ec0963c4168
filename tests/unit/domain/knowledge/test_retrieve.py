import time

import pytest

from appliance.config.schema import KnowledgeConfig
from appliance.domain.events.exchange import Retrieval
from appliance.domain.knowledge.prompt import PREAMBLE, compose
from appliance.domain.knowledge.retrieve import Retriever, estimate_tokens
from appliance.domain.vectorstore.ports import NewChunk
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore

QUERY = "which port does the gateway use"


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def _put(store: MemoryStore, name: str, *contents: str, workspace: str = "default") -> None:
    vectors = (await WordEmbedder().embed(contents)).vectors
    chunks = [NewChunk(n, c, v) for n, (c, v) in enumerate(zip(contents, vectors, strict=True))]
    await store.replace(
        name, workspace=workspace, digest="d", size_bytes=1, model="words", chunks=chunks
    )


async def test_the_best_chunks_come_first_and_name_their_source(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    await _put(store, "other.md", "bread needs flour water and salt", "the gateway is small")
    await _put(store, "ports.md", "the gateway does use port 8080")
    found = await Retriever(embedder, store, KnowledgeConfig()).retrieve(QUERY, workspace="default")
    assert [(hit.document, hit.chunk) for hit in found.retrieval.hits] == [
        ("ports.md", 0),
        ("other.md", 1),
    ]
    assert found.chunks[0].content == "the gateway does use port 8080"
    assert found.retrieval.hits[0].score > found.retrieval.hits[1].score
    assert found.retrieval.degraded == ""


async def test_a_chunk_below_the_least_score_is_left_out(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    await _put(store, "a.md", "the gateway does use port 8080", "the moon")
    retriever = Retriever(embedder, store, KnowledgeConfig(min_score=0.6))
    found = await retriever.retrieve(QUERY, workspace="default")
    assert [hit.chunk for hit in found.retrieval.hits] == [0]


async def test_what_does_not_fit_the_window_is_left_out_and_a_shorter_one_taken(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    long = "which port does the gateway use " * 60
    await _put(store, "a.md", long, "the gateway does use port 8080")
    retriever = Retriever(embedder, store, KnowledgeConfig())
    found = await retriever.retrieve(
        QUERY, workspace="default", context_window=700, prompt_bytes=60, max_output_tokens=100
    )
    assert [hit.chunk for hit in found.retrieval.hits] == [1]
    assert estimate_tokens(compose(found.chunks)) + 20 + 100 < 700


async def test_knowledge_takes_no_more_than_its_share(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    await _put(store, "a.md", *(f"which port does the gateway use {n} " * 20 for n in range(20)))
    settings = KnowledgeConfig(hits=20, context_share=0.25)
    retriever = Retriever(embedder, store, settings)
    found = await retriever.retrieve(QUERY, workspace="default", context_window=4000)
    assert 0 < estimate_tokens(compose(found.chunks)) <= 1000


async def test_no_room_means_no_search(embedder: WordEmbedder, store: MemoryStore) -> None:
    await _put(store, "a.md", "the gateway does use port 8080")
    found = await Retriever(embedder, store, KnowledgeConfig()).retrieve(
        QUERY, workspace="default", context_window=1000, prompt_bytes=4000
    )
    assert (found.chunks, found.retrieval.degraded) == ((), "")
    assert embedder.texts == []
    assert store.searches == 0


async def test_the_same_text_is_injected_once(embedder: WordEmbedder, store: MemoryStore) -> None:
    await _put(store, "a.md", "the gateway does use port 8080")
    await _put(store, "b.md", "the gateway does use port 8080")
    found = await Retriever(embedder, store, KnowledgeConfig()).retrieve(QUERY, workspace="default")
    assert len(found.chunks) == 1


@pytest.mark.parametrize("workspace", ["other", "", "../etc", "a b", "x" * 65])
async def test_another_workspace_finds_nothing(
    workspace: str, embedder: WordEmbedder, store: MemoryStore
) -> None:
    await _put(store, "a.md", "the gateway does use port 8080")
    found = await Retriever(embedder, store, KnowledgeConfig()).retrieve(QUERY, workspace=workspace)
    assert (found.retrieval.hits, found.retrieval.degraded) == ((), "")
    assert found.retrieval.workspace == workspace


async def test_vectors_of_another_model_are_not_searched(store: MemoryStore) -> None:
    await _put(store, "a.md", "the gateway does use port 8080")
    other = Retriever(WordEmbedder("other"), store, KnowledgeConfig())
    assert (await other.retrieve(QUERY, workspace="default")).chunks == ()


async def test_a_missing_part_is_named_and_never_raised(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    retriever = Retriever(embedder, store, KnowledgeConfig())
    store.down = True
    assert (await retriever.retrieve(QUERY, workspace="w")).retrieval.degraded == "postgres"
    embedder.down = True
    assert (await retriever.retrieve(QUERY, workspace="w")).retrieval.degraded == "inference"


@pytest.mark.parametrize("slow", ["inference", "postgres"])
async def test_a_slow_part_costs_the_limit_and_is_named(slow: str) -> None:
    embedder = WordEmbedder(delay_s=5.0 if slow == "inference" else 0.0)
    store = MemoryStore(delay_s=5.0 if slow == "postgres" else 0.0)
    retriever = Retriever(embedder, store, KnowledgeConfig(retrieve_timeout_s=0.1))
    started = time.monotonic()
    found = await retriever.retrieve(QUERY, workspace="w")
    assert found.retrieval.degraded == slow
    assert 0.1 <= found.retrieval.duration_s <= time.monotonic() - started < 4.0


async def test_a_long_query_is_embedded_by_its_beginning_and_end(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    query = "First the question. " + "filler " * 20_000 + " Or the question last?"
    retriever = Retriever(embedder, store, KnowledgeConfig(default_context_window=10**6))
    await retriever.retrieve(query, workspace="default")
    (text,) = embedder.texts
    assert len(text) < 1100
    assert text.startswith("First the question.")
    assert text.endswith("Or the question last?")


async def test_an_empty_query_asks_nobody(embedder: WordEmbedder, store: MemoryStore) -> None:
    await Retriever(embedder, store, KnowledgeConfig()).retrieve(" \n", workspace="default")
    assert embedder.texts == []
    assert store.searches == 0


def reasons(retrieval: Retrieval) -> list[tuple[str, int, str]]:
    return [(cut.document, cut.chunk, cut.reason) for cut in retrieval.cut]


async def test_what_was_left_out_is_recorded_with_its_reason_best_first(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    port = "the gateway does use port 8080"
    await _put(store, "a.md", port, "which port does the gateway use " * 200, "the moon")
    await _put(store, "b.md", port, "port of the gateway", "which port")
    await _put(store, "c.md", "the gateway is small", "the gateway is so small")
    settings = KnowledgeConfig(min_score=0.3, hits=4, context_share=0.9)
    retriever = Retriever(embedder, store, settings)
    found = (await retriever.retrieve(QUERY, workspace="default", context_window=1500)).retrieval
    assert [(hit.document, hit.chunk) for hit in found.hits] == [
        ("a.md", 0),
        ("b.md", 1),
        ("b.md", 2),
        ("c.md", 0),
    ]
    assert reasons(found) == [
        ("a.md", 1, "room"),
        ("b.md", 0, "repeated"),
        ("c.md", 1, "limit"),
        ("a.md", 2, "score"),
    ]
    scores = [cut.score for cut in found.cut]
    assert scores == sorted(scores, reverse=True)
    assert all(cut.tokens > 0 for cut in found.cut)


async def test_a_hit_says_what_it_takes_of_the_room(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    await _put(store, "a.md", "the gateway does use port 8080", "port of the gateway")
    retriever = Retriever(embedder, store, KnowledgeConfig())
    found = await retriever.retrieve(QUERY, workspace="default", context_window=1000)
    used = sum(hit.tokens for hit in found.retrieval.hits)
    assert estimate_tokens(compose(found.chunks)) <= used + estimate_tokens(PREAMBLE)
    assert 0 < used < found.retrieval.room_tokens < 1000


async def test_the_record_says_by_which_thresholds_it_was_chosen(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    settings = KnowledgeConfig(hits=3, min_score=0.5, default_context_window=3000)
    retriever = Retriever(embedder, store, settings)
    found = (await retriever.retrieve(f" {QUERY}\n", workspace="default")).retrieval
    assert (found.query, found.limit, found.min_score) == (QUERY, 3, 0.5)
    assert found.context_window == 3000
    assert 0 < found.room_tokens <= 1500
    known = await retriever.retrieve(QUERY, workspace="default", context_window=1000)
    assert known.retrieval.context_window == 1000
    full = await retriever.retrieve(QUERY, workspace="default", prompt_bytes=90_000)
    assert (full.retrieval.room_tokens, full.retrieval.embedding) == (0, None)


async def test_the_query_is_recorded_as_it_was_looked_up(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    query = "First the question. " + "filler " * 20_000
    retriever = Retriever(embedder, store, KnowledgeConfig(default_context_window=10**6))
    found = (await retriever.retrieve(query, workspace="default")).retrieval
    assert [found.query] == embedder.texts
    assert found.embedding is not None
    assert found.embedding.texts == (found.query,)


async def test_what_was_embedded_is_recorded_also_when_the_search_then_fails(
    embedder: WordEmbedder, store: MemoryStore
) -> None:
    store.down = True
    retriever = Retriever(embedder, store, KnowledgeConfig())
    found = (await retriever.retrieve(QUERY, workspace="w", began_s=1.5)).retrieval
    made = found.embedding
    assert made is not None
    assert (made.purpose, made.model, made.texts) == ("query", "words", (QUERY,))
    assert (made.dimensions, made.input_tokens) == (256, len(QUERY))
    assert (found.began_s, made.began_s) == (1.5, 1.5)
    assert 0 <= made.duration_s <= found.duration_s
    embedder.down = True
    assert (await retriever.retrieve(QUERY, workspace="w")).retrieval.embedding is None
