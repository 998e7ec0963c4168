"""The real embedding model, built once for a session, and copies of it with a graph broken."""

import shutil
from pathlib import Path

import onnx
import pytest

from appliance.infra.onnx.build import build
from appliance.infra.onnx.spec import GRAPHS


@pytest.fixture(scope="session")
def built_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory as `appliance build-model` makes it."""
    directory = tmp_path_factory.mktemp("model") / "built"
    build(directory, force=False, say=lambda line: None)
    return directory


def with_wrong(built: Path, copy: Path, *precisions: str) -> Path:
    """A copy whose graphs of `precisions` load, run, and compute something else: what a kernel
    does on a processor it was not made for."""
    shutil.copytree(built, copy)
    for precision in precisions:
        file = copy / GRAPHS[precision]
        model = onnx.load(file)
        for node in model.graph.node:
            if node.op_type == "MultiHeadAttention":
                node.input[0], node.input[1] = node.input[1], node.input[2]
        onnx.save(model, file)
    return copy


def with_truncated(built: Path, copy: Path, precision: str) -> Path:
    """A copy whose graph of `precision` does not load."""
    shutil.copytree(built, copy)
    file = copy / GRAPHS[precision]
    file.write_bytes(file.read_bytes()[:4096])
    return copy
