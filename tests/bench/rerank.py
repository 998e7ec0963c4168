"""What reranking is worth, and what it costs.

    python -m tests.bench.rerank cranfield                  nDCG@10 of BM25, vectors and both
    python -m tests.bench.rerank http://127.0.0.1:3001      the role's times, and what a query for
                                                            one vector waits meanwhile

Cranfield is read from $APPLIANCE_DATA/cranfield.  `all` ranks the whole collection; `of_50` puts
the 50 that the vectors find into another order, as a caller of /v1/rerank does.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import uvloop
from numpy.typing import NDArray

from appliance.config.schema import InferenceConfig, RerankConfig
from appliance.domain.rerank.bm25 import bm25
from appliance.domain.rerank.fusion import fused
from appliance.domain.rerank.ports import Reranker
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.inference.rerank import RerankClient
from appliance.infra.onnx.encoder import Encoder, normalised, projection
from appliance.infra.onnx.runtime import model_dir
from appliance.infra.onnx.spec import INT8
from tests.bench.embed import line
from tests.bench.embedding_data import embed, ndcg, read_cranfield

CANDIDATES = 50
SIZES = (1, 10, 100)
PASSAGE = (
    "The boundary layer over a flat plate at supersonic speed thickens along its length, and the "
    "heat that it carries to the wall falls with the square root of the distance from the edge. "
) * 4


def cranfield() -> None:
    documents, queries, grades = read_cranfield()
    numbers, texts = list(documents), list(documents.values())
    encoder = Encoder.load(model_dir(""), INT8, threads=0)
    indexed, asked = vectors(encoder, texts), vectors(encoder, queries)
    found: dict[str, list[float]] = {}
    for number, (query, vector) in enumerate(zip(queries, asked, strict=True), start=1):
        dense = indexed @ vector
        shown = np.argsort(-dense)[:CANDIDATES]
        gains = grades.get(number, {})
        for where, rows in (("all", np.arange(len(texts))), (f"of_{CANDIDATES}", shown)):
            for name, scores in methods(query, [texts[row] for row in rows], dense[rows]):
                best = rows[np.argsort(-np.asarray(scores), kind="stable")[:10]]
                value = ndcg([numbers[row] for row in best], gains)
                found.setdefault(f"{where}_{name}", []).append(value)
    for name, values in found.items():
        print(f"cranfield_ndcg10_{name} {np.mean(values):.4f} n={len(values)}")


def vectors(encoder: Encoder, texts: list[str]) -> NDArray[np.float32]:
    """As the role makes them."""
    return normalised(embed(encoder, texts) @ projection())


def methods(
    query: str, texts: Sequence[str], dense: NDArray[np.float32]
) -> Iterator[tuple[str, Sequence[float]]]:
    lexical = bm25(query, texts)
    yield "bm25", lexical
    yield "dense", dense.tolist()
    yield "fusion", fused(lexical, dense.tolist())


async def through(url: str) -> None:
    http, inference = HttpClient(), InferenceConfig(url=url)
    role = RerankClient(inference, RerankConfig(timeout_s=300), http)
    embedder = InferenceClient(inference, http)
    for reranker in await role.rerankers():
        for size in SIZES:
            sets = [passages(size) for _ in range(max(3, 30 // size))]
            for name in ("", "_again"):
                times = [await timed(role, reranker, texts) for texts in sets]
                line(f"rerank_{reranker.kind}_{size}{name}", times)
        await beside(role, reranker, embedder)
    await http.aclose()


def passages(size: int) -> list[str]:
    """Texts that nobody has sent yet: the role remembers what it has read."""
    return [f"{time.time_ns()} {number} {PASSAGE}" for number in range(size)]


async def timed(role: RerankClient, reranker: Reranker, texts: Sequence[str]) -> float:
    begun = time.perf_counter()
    await role.score(reranker, "heat transfer in a supersonic boundary layer", texts)
    return (time.perf_counter() - begun) * 1e3


async def beside(role: RerankClient, reranker: Reranker, embedder: InferenceClient) -> None:
    """One short query for a vector after the other, alone and while 100 documents are scored."""
    for name in ("alone", f"beside_{reranker.kind}"):
        texts = passages(100)
        waits: list[float] = []
        busy = asyncio.ensure_future(
            asyncio.sleep(3) if name == "alone" else timed(role, reranker, texts)
        )
        while not busy.done():
            begun = time.perf_counter()
            await embedder.embed(["where does the shock wave detach?"])
            waits.append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(0.02)
        await busy
        line(f"embed_1_{name}", waits)


if __name__ == "__main__":
    if sys.argv[1:] == ["cranfield"]:
        cranfield()
    elif len(sys.argv) == 2:
        uvloop.run(through(sys.argv[1]))
    else:
        sys.exit(__doc__)
