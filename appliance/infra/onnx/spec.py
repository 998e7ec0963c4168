"""The embedding model's names, sizes and place on disk, and what its role takes at once.  Constants
and paths only: the gateway reads this.

A model directory holds MANIFEST, the graphs named in GRAPHS, and TOKENIZER.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

MODEL_ID = "all-minilm-l6-v2"  # what a caller asks for
# What is stored beside every vector.  int8 and fp32 are one space (cosine 0.99); another model or
# another data/projection.npy is another name here.
VECTOR_MODEL = "all-minilm-l6-v2/pca256.1"
HIDDEN = 384
DIMENSIONS = 256
MAX_INPUT_TOKENS = (
    256  # what it was trained with, [CLS] and [SEP] included (sentence_bert_config.json)
)

# Of one request to the role, whatever it is for: more is a 413, and its clients send no more.
MAX_BODY_BYTES = 8 * 1024 * 1024

MANIFEST = "model.json"
TOKENIZER = "tokenizer.json"
INT8, FP32 = "int8", "fp32"
GRAPHS: Mapping[str, str] = {INT8: "int8.onnx", FP32: "fp32.onnx"}  # in the order they are tried
# Least cosine to the stored probe: int8 is off by its rounding, fp32 by the order of its additions.
MIN_COSINE: Mapping[str, float] = {INT8: 0.99, FP32: 0.9996}


def default_dirs() -> tuple[Path, Path]:
    """Where the model is looked for, in order: beside this environment, then in the user's data
    folder."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return (
        Path(sys.prefix) / "share" / "appliance" / "models" / MODEL_ID,
        Path(data) / "appliance" / "models" / MODEL_ID,
    )


def writable_dir() -> Path:
    """Where `appliance build-model` puts the model: the first of `default_dirs` this user may
    write."""
    first, second = default_dirs()
    existing = next(parent for parent in first.parents if parent.exists())
    return first if os.access(first if first.exists() else existing, os.W_OK | os.X_OK) else second
