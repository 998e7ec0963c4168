import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.embeddings.ports import Embedded
from appliance.presentation.openai_embeddings.encode import encode

VECTORS = [[0.25, -0.5], [1.0, 0.0]]


def body(embedded: Embedded, model: str = "m", encoding: str = "float") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode(embedded, model, encoding))
    return read


def test_the_object_is_openais() -> None:
    assert body(Embedded(VECTORS, "ours", 4)) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


@pytest.mark.parametrize(("asked", "told"), [("", "ours"), ("m", "m")])
def test_the_model_is_the_one_asked_for_or_the_one_that_did_it(asked: str, told: str) -> None:
    assert body(Embedded(VECTORS, "ours", None), asked)["model"] == told


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=8), max_size=4))
def test_base64_is_little_endian_float32(vectors: list[list[float]]) -> None:
    rows = body(Embedded(vectors, "ours", 1), encoding="base64")["data"]
    read = [base64.b64decode(row["embedding"], validate=True) for row in rows]
    assert read == [struct.pack(f"<{len(v)}f", *v) for v in vectors]
    assert [row["index"] for row in rows] == list(range(len(vectors)))
