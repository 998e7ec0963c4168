"""One product against three loops."""

import numpy as np
import pytest

from appliance.infra.onnx.colbert.maxsim import maxsim, unit


@pytest.mark.parametrize(("asked", "texts", "tokens"), [(1, 1, 1), (8, 5, 11), (32, 3, 40)])
def test_one_product_is_what_loops_find(asked: int, texts: int, tokens: int) -> None:
    random = np.random.default_rng(asked)
    query = unit(random.normal(size=(asked, 16)).astype(np.float32))
    documents = unit(random.normal(size=(texts, tokens, 16)).astype(np.float32))
    kept = random.random((texts, tokens)) < 0.7
    kept[:, 0] = True
    expected = []
    for text in range(texts):
        total = 0.0
        for left in query:
            total += max(
                sum(float(a) * float(b) for a, b in zip(left, documents[text, at], strict=True))
                for at in range(tokens)
                if kept[text, at]
            )
        expected.append(total)
    found = maxsim(query, documents, kept)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_a_text_of_which_nothing_counts_is_as_far_away_as_can_be() -> None:
    query = unit(np.ones((4, 2), np.float32))
    documents = unit(np.ones((1, 3, 2), np.float32))
    assert maxsim(query, documents, np.zeros((1, 3), bool)).tolist() == [-4.0]


def test_a_vector_of_zeros_stays() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist() == [
        pytest.approx([0.6, 0.8]),
        [0.0, 0.0],
    ]
