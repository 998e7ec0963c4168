import asyncio
import math
import random
import subprocess
import sys
from collections.abc import AsyncIterator

import psycopg
import pytest

from appliance.domain.errors import PartUnavailable
from appliance.domain.vectorstore.ports import NewChunk
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import PgVectorStore


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PgVectorStore]:
    async with PostgresPool(dsn) as pool:
        yield PgVectorStore(pool)


def _unit(values: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


def _axis(*weights: float) -> list[float]:
    return _unit([*weights, *[0.0] * (256 - len(weights))])


async def _put(
    store: PgVectorStore, name: str, *vectors: list[float], workspace: str = "w", model: str = "m",
    digest: str = "d",
) -> None:  # fmt: skip
    await store.replace(
        name,
        workspace=workspace,
        digest=digest,
        size_bytes=10,
        model=model,
        chunks=[NewChunk(n, f"{name} {n}", vector) for n, vector in enumerate(vectors)],
    )


async def test_search_gives_cosine_similarity_best_first(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(0, 1), _axis(1, 1), _axis(1))
    found = await store.search(_axis(1), workspace="w", model="m", limit=2)
    assert [(c.document, c.index, c.content) for c in found] == [
        ("a.md", 2, "a.md 2"),
        ("a.md", 1, "a.md 1"),
    ]
    assert [c.score for c in found] == pytest.approx([1.0, math.sqrt(0.5)], abs=1e-6)


async def test_other_workspaces_and_models_are_never_found(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(1), workspace="mine")
    await _put(store, "b.md", _axis(1), workspace="theirs")
    await _put(store, "c.md", _axis(1), workspace="mine", model="another")
    found = await store.search(_axis(1), workspace="mine", model="m", limit=10)
    assert [c.document for c in found] == ["a.md"]
    assert await store.search(_axis(1), workspace="nobody's", model="m", limit=10) == []


async def test_a_small_workspace_in_a_large_table_gets_all_its_hits(
    store: PgVectorStore, dsn: str
) -> None:
    """Without the iterative scan the filter leaves next to nothing of the candidates."""
    rng = random.Random(7)
    near = [
        _unit([1.0 + rng.gauss(0, 0.1), *(rng.gauss(0, 0.05) for _ in range(255))])
        for _ in range(1000)
    ]
    far = [_unit([rng.gauss(0, 1.0) for _ in range(256)]) for _ in range(30)]
    for first in range(0, len(near), 250):  # no statement of a busy machine comes near its limit
        await _put(store, f"crowd{first}.md", *near[first : first + 250], workspace="crowd")
    await _put(store, "few.md", *far, workspace="few")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("DROP INDEX document_chunks_workspace")  # the exact way: leave only the graph
        database = admin.info.dbname
        admin.execute(f'ALTER DATABASE "{database}" SET enable_seqscan = off'.encode())
        admin.execute(f'ALTER DATABASE "{database}" SET enable_sort = off'.encode())
    async with PostgresPool(dsn) as pool:
        found = await PgVectorStore(pool).search(_axis(1), workspace="few", model="m", limit=10)
    expected = sorted(range(30), key=lambda n: -far[n][0])[:10]
    assert [c.index for c in found] == expected


async def test_replacing_leaves_only_the_new_chunks(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(1), _axis(0, 1), _axis(0, 0, 1))
    before = await store.document("a.md", workspace="w")
    await _put(store, "a.md", _axis(0, 0, 0, 1), digest="new")
    after = await store.document("a.md", workspace="w")
    assert before is not None
    assert after is not None
    assert (after.digest, after.chunks) == ("new", 1)
    assert after.updated_at > before.updated_at
    found = await store.search(_axis(1), workspace="w", model="m", limit=10)
    assert [c.score for c in found] == pytest.approx([0.0])


async def test_a_replacement_that_fails_leaves_what_was_there(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(1))
    with pytest.raises(PartUnavailable, match="expected 256 dimensions"):
        await _put(store, "a.md", _axis(1), [1.0, 2.0], digest="new")
    kept = await store.document("a.md", workspace="w")
    assert kept is not None
    assert (kept.digest, kept.chunks) == ("d", 1)


async def test_readers_never_see_a_document_half_replaced(store: PgVectorStore) -> None:
    await _put(store, "a.md", *[_axis(1)] * 20)

    async def replace() -> None:
        for _ in range(10):
            await _put(store, "a.md", *[_axis(1)] * 20)

    replacing = asyncio.ensure_future(replace())
    while not replacing.done():
        found = await store.search(_axis(1), workspace="w", model="m", limit=50)
        assert len(found) == 20
    await replacing


async def test_documents_are_listed_by_workspace_and_name(store: PgVectorStore) -> None:
    await _put(store, "b.md", _axis(1), _axis(1))
    await _put(store, "a.md", _axis(1))
    await _put(store, "z.md", _axis(1), workspace="another")
    rows = [(d.workspace, d.name, d.chunks, d.size_bytes) for d in await store.documents()]
    assert rows == [("another", "z.md", 1, 10), ("w", "a.md", 1, 10), ("w", "b.md", 2, 10)]
    assert [d.name for d in await store.documents(workspace="another")] == ["z.md"]
    assert await store.document("a.md", workspace="another") is None


async def test_digests_are_those_of_this_model(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(1), digest="1")
    await _put(store, "b.md", _axis(1), digest="2", model="another")
    assert await store.digests(workspace="w", model="m") == {"a.md": "1"}


async def test_analyze_tells_the_planner_how_much_there_is(store: PgVectorStore, dsn: str) -> None:
    await _put(store, "a.md", *[_axis(1)] * 7)
    await store.analyze()
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT reltuples FROM pg_class WHERE relname = 'document_chunks'"
        ).fetchone()
    assert row == (7.0,)


async def test_removing_takes_the_chunks_along(store: PgVectorStore) -> None:
    await _put(store, "a.md", _axis(1))
    assert not await store.remove("a.md", workspace="another")
    assert await store.remove("a.md", workspace="w")
    assert not await store.remove("a.md", workspace="w")
    assert await store.search(_axis(1), workspace="w", model="m", limit=5) == []


async def test_a_text_the_database_cannot_hold_is_an_unavailable_store(
    store: PgVectorStore,
) -> None:
    with pytest.raises(PartUnavailable) as failed:
        await store.document("a\0b", workspace="w")
    assert failed.value.part == "postgres"


def test_the_adapter_does_not_import_numpy() -> None:
    program = (
        "import sys, appliance.infra.postgres.vectors, appliance.domain.knowledge.retrieve; "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
