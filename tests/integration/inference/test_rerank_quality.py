"""What the fusion is worth on a sample of Cranfield: told, and held to no more than sense."""

import os
from pathlib import Path

import numpy as np
import pytest

from appliance.domain.rerank.bm25 import bm25
from appliance.domain.rerank.fusion import fused
from appliance.infra.onnx.encoder import Encoder, normalised
from appliance.infra.onnx.spec import INT8
from tests.bench.embedding_data import ndcg, read_cranfield

QUERIES = 40
DATA = Path(os.environ.get("APPLIANCE_DATA", "../shared/data")) / "cranfield"


@pytest.mark.skipif(not DATA.is_dir(), reason="APPLIANCE_DATA has no cranfield")
def test_the_fusion_ranks_about_as_well_as_its_better_half(built_model: Path) -> None:
    documents, queries, grades = read_cranfield()
    judged = sorted({each for n in range(1, QUERIES + 1) for each in grades.get(n, {})})
    texts = [documents[number] or "-" for number in judged]
    encoder = Encoder.load(built_model, INT8, threads=0)
    indexed, asked = (
        np.concatenate([normalised(encoder.encode([ids])) for ids in encoder.tokenize(some)])
        for some in (texts, queries[:QUERIES])
    )
    found: dict[str, list[float]] = {"bm25": [], "dense": [], "fusion": []}
    for number, (query, vector) in enumerate(zip(queries, asked, strict=False), start=1):
        lexical, dense = bm25(query, texts), (indexed @ vector).tolist()
        for name, scores in zip(found, (lexical, dense, fused(lexical, dense)), strict=True):
            best = np.argsort(-np.asarray(scores), kind="stable")[:10]
            found[name].append(ndcg([judged[row] for row in best], grades.get(number, {})))
    told = {name: float(np.mean(values)) for name, values in found.items()}
    print(told)
    assert told["fusion"] > max(told["bm25"], told["dense"]) - 0.05
