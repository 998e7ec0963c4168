"""A real graph and a real tokenizer against loops of plain Python."""

from pathlib import Path

import numpy as np
import pytest

from appliance.infra.onnx.colbert.encoder import Colbert
from tests.fakes.colbert_model import CONFIG, VOCABULARY, by_hand, colbert_folder

TEXTS = (
    "the bicycle is in the shed",
    "the sea, the sky!",
    "taxes are due in april every year, every year, every year",
    "cat",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Colbert:
    return Colbert.load(colbert_folder(tmp_path_factory.mktemp("tiny")), threads=1)


def scores(model: Colbert, query: str, *texts: str) -> list[float]:
    vectors = model.query_vectors(model.cut_query(model.query_ids(query)))
    ids = [model.cut_document(each, "right") for each in model.document_ids(texts)]
    found: list[float] = model.scores(vectors, ids).tolist()
    return found


@pytest.mark.parametrize("query", ["where is the bicycle", "a", "the sea is blue, the sky is blue"])
def test_scores_are_those_of_a_loop(model: Colbert, query: str) -> None:
    expected = [by_hand(query, text) for text in TEXTS]
    assert scores(model, query, *TEXTS) == pytest.approx(expected, abs=1e-4)


def test_a_batch_scores_as_each_text_alone(model: Colbert) -> None:
    alone = [scores(model, "red fox", text)[0] for text in TEXTS]
    assert scores(model, "red fox", *TEXTS) == pytest.approx(alone, abs=1e-5)


def test_a_query_is_padded_with_masks_whose_vectors_count(model: Colbert) -> None:
    ids = model.query_ids("cat")
    assert ids == [VOCABULARY[word] for word in ("[CLS]", "[Q] ", "cat", "[SEP]")]
    vectors = model.query_vectors(ids)
    assert vectors.shape == (CONFIG["query_length"], 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(8), abs=1e-5)


def test_a_query_is_not_padded_where_the_settings_say_so(tmp_path: Path) -> None:
    config = CONFIG | {"do_query_expansion": False}
    plain = Colbert.load(colbert_folder(tmp_path / "colbert", config=config), threads=1)
    assert plain.query_vectors(plain.query_ids("cat")).shape == (4, 16)


def test_masks_are_attended_to_where_the_settings_say_so(tmp_path: Path, model: Colbert) -> None:
    config = CONFIG | {"attend_to_expansion_tokens": True}
    attends = Colbert.load(colbert_folder(tmp_path / "colbert", config=config), threads=1)
    ids = model.query_ids("cat")
    assert not np.allclose(attends.query_vectors(ids), model.query_vectors(ids), atol=1e-3)


def test_what_is_too_long_is_cut_and_markers_and_ends_stay(model: Colbert) -> None:
    long = "the sea is blue and the sky is red in april every year cat sleeps taxes"
    query = model.cut_query(model.query_ids(long))
    assert (len(query), query[:2], query[-1]) == (8, [2, 5], 3)
    (ids,) = model.document_ids([long])
    right, left = (model.cut_document(ids, way) for way in ("right", "left"))  # type: ignore[arg-type]
    assert (len(right), right[:3], right[-1]) == (12, [2, 6, VOCABULARY["the"]], 3)
    assert (len(left), left[:2], left[-2:]) == (12, [2, 6], [VOCABULARY["taxes"], 3])


def test_punctuation_of_a_document_matches_nothing(model: Colbert) -> None:
    _, kept = model.document_vectors(model.document_ids(["the sea, the sky!", "cat"]))
    assert kept[0].tolist() == [True] * 4 + [False] + [True] * 2 + [False, True]
    assert kept[1].tolist() == [True] * 4 + [False] * 5
