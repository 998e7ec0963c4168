"""What `appliance build-model` makes is the model, and is made once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from appliance.domain.errors import ConfigError
from appliance.infra.onnx import probe
from appliance.infra.onnx.build import build
from appliance.infra.onnx.encoder import Encoder, normalised
from appliance.infra.onnx.spec import GRAPHS, MANIFEST, MIN_COSINE
from tests.unit.infra.onnx.reference import Reference

# Not the probe's: a graph must be right on texts it was not checked with.
TEXTS = [
    "A lexical guard keeps the cache from answering the wrong question.",
    "SELECT count(*) FROM chat_pairs WHERE trace_id = '018f…';",
    "Wie viele Einwohner hat Wien?",
    "Restart the service, then read its journal. " * 8,
]


@pytest.mark.parametrize("precision", GRAPHS)
def test_each_precision_computes_what_the_reference_does(
    built_model: Path, reference: Reference, precision: str
) -> None:
    encoder = Encoder.load(built_model, precision, threads=1)
    expected = reference.embed(TEXTS)
    alone = [encoder.pooled([ids]) for ids in encoder.tokenize(TEXTS)]
    together = encoder.pooled(encoder.tokenize(TEXTS))
    for rows in (np.concatenate(alone), together):
        cosines = np.sum(normalised(rows) * expected, axis=1)
        assert cosines.min() >= MIN_COSINE[precision]


def test_the_stored_probe_is_the_references(reference: Reference) -> None:
    assert np.allclose(probe.expected(), reference.embed(probe.texts()), atol=1e-6)


def test_a_second_build_changes_nothing_and_says_so(built_model: Path) -> None:
    before = (built_model / MANIFEST).stat().st_ino
    said: list[str] = []
    build(built_model, force=False, say=said.append)
    assert (built_model / MANIFEST).stat().st_ino == before
    assert "already built" in said[0]


def test_a_model_of_another_recipe_is_replaced_whole(built_model: Path, tmp_path: Path) -> None:
    old = tmp_path / "model"
    old.mkdir()
    (old / MANIFEST).write_text('{"recipe": {"model": "older"}}')
    (old / "leftover").write_text("")
    build(old, force=False, say=lambda line: None)
    recipe = json.loads((old / MANIFEST).read_text())["recipe"]
    assert recipe == json.loads((built_model / MANIFEST).read_text())["recipe"]
    assert not (old / "leftover").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"):
        build(tmp_path / "file" / "model", force=False, say=lambda line: None)


def test_a_missing_package_is_a_sentence(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['onnx'] = None\n"
        "from appliance.__main__ import main\n"
        f"sys.exit(main(['build-model', '--dir', {str(tmp_path / 'model')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs the package onnx" in done.stderr
    assert "Traceback" not in done.stderr
