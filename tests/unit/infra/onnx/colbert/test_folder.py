"""A folder is read, or what is wrong with it is said: a sentence a problem."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from appliance.domain.errors import ConfigError
from appliance.infra.onnx.colbert.encoder import Colbert
from appliance.infra.onnx.colbert.folder import read_folder
from tests.fakes.colbert_model import CONFIG, VOCABULARY, colbert_folder

STANFORD = {
    "query_token_id": "[Q]",
    "doc_token_id": "[D]",
    "query_maxlen": 8,
    "doc_maxlen": 12,
    "dim": 16,
    "mask_punctuation": True,
    "attend_to_mask_tokens": False,
    "checkpoint": "somewhere",
}


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (CONFIG | changes).items() if name not in names}


def test_what_pylates_exporters_write_is_read(tmp_path: Path) -> None:
    for name in ("onnx_config.json", "config_sentence_transformers.json"):
        folder = read_folder(colbert_folder(tmp_path / name, config_name=name))
        assert (folder.name, folder.query_length, folder.document_length) == ("tiny-colbert", 8, 12)
        assert (folder.query_marker, folder.document_marker, folder.mask_id) == (5, 6, 4)
        assert folder.skipped == {VOCABULARY[mark] for mark in ".,!"}
        assert (folder.expands_queries, folder.attends_to_expansion) == (True, False)


def test_what_stanfords_training_writes_is_the_same(tmp_path: Path) -> None:
    config = {"config": STANFORD, "config_name": "artifact.metadata"}
    folder = read_folder(colbert_folder(tmp_path / "mine", **config))  # type: ignore[arg-type]
    assert (folder.name, folder.query_length, folder.document_length) == ("colbert-mine", 8, 12)
    assert (folder.query_marker, folder.document_marker, folder.dimensions) == (5, 6, 16)
    assert folder.skipped == {VOCABULARY[mark] for mark in ".,!"}
    assert folder.expands_queries


def test_settings_that_are_absent_or_null_are_colberts_own(tmp_path: Path) -> None:
    optional = [name for name in CONFIG if not name.endswith("_length")]
    for number, config in enumerate((without(*optional), CONFIG | dict.fromkeys(optional))):
        folder = read_folder(colbert_folder(tmp_path / str(number), config=config))
        assert (folder.query_marker, folder.document_marker) == (5, 6)
        assert (folder.expands_queries, folder.dimensions) == (True, 0)
        assert folder.skipped == {VOCABULARY[mark] for mark in ".,!"}


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("owner/My ColBERT\r\nv1", "My-ColBERT-v1"),
        ("modèle", "colbert-mod-le"),
        ("模型", "colbert-model"),
        ("x" * 900, "colbert-" + "x" * 128),
    ],
)
def test_a_name_fits_into_a_header(tmp_path: Path, told: str, name: str) -> None:
    folder = colbert_folder(tmp_path / "mine", config=CONFIG | {"model_name": told})
    assert read_folder(folder).name == name


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop("model.onnx"), "model.onnx is missing"),
        (drop("tokenizer.json"), "tokenizer.json is missing"),
        (drop("onnx_config.json"), "the settings are missing: one of onnx_config.json, config_sen"),
        (write("model.onnx", b"\x08nonsense"), "model.onnx does not load"),
        (write("tokenizer.json", b"{"), "tokenizer.json cannot be read"),
        (write("onnx_config.json", b"{"), "onnx_config.json has no settings of a ColBERT model"),
        (write("onnx_config.json", b"[]"), "Expected `object`, got `array`"),
        (write("onnx_config.json", b"{}"), "missing required field `query_length`"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder := colbert_folder(tmp_path / "colbert"))
    with pytest.raises(ConfigError, match=r"\[inference\] colbert_dir") as refused:
        Colbert.load(folder, threads=1)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": without(query_length="8")}, "Expected `int`, got `str`"),
        ({"config": without(document_length=1)}, "document_length"),
        ({"config": without(query_prefix="[query]")}, "the query marker '[query]' is not a token"),
        ({"config": without(document_prefix="[unused1]")}, "the document marker '[unused1]' is"),
        ({"config": without(embedding_dim=96)}, "has the 96 dimensions of the settings (output"),
        ({"inputs": ("input_ids", "attention_mask", "pixels")}, "has an input pixels"),
        ({"inputs": ("input_ids",), "heeds_mask": False}, "has no input attention_mask"),
        ({"heeds_mask": False}, "does not heed attention_mask"),
        ({"scale": 0.0}, "computes vectors of zeros"),
        ({"scale": float("nan")}, "computes values that are no numbers"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    folder = colbert_folder(tmp_path / "colbert", **arguments)
    with pytest.raises(ConfigError) as refused:
        Colbert.load(folder, threads=1)
    assert words in str(refused.value)


def test_everything_that_can_be_told_at_once_is(tmp_path: Path) -> None:
    folder = colbert_folder(tmp_path / "colbert")
    for name in ("model.onnx", "tokenizer.json", "onnx_config.json"):
        (folder / name).unlink()
    with pytest.raises(ConfigError) as refused:
        read_folder(folder)
    assert str(refused.value).count(" missing") == 3
    with pytest.raises(ConfigError, match="there is no such folder"):
        read_folder(tmp_path / "nowhere")


def test_integers_of_32_bits_and_token_types_are_fed_where_a_graph_wants_them(
    tmp_path: Path,
) -> None:
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    folder = colbert_folder(tmp_path / "colbert", inputs=inputs, kind=TensorProto.INT32)
    assert Colbert.load(folder, threads=1).name == "tiny-colbert"
    assert json.loads((folder / "onnx_config.json").read_text())["query_length"] == 8
