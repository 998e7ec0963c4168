"""The BERT encoder as an ONNX graph, node by node from the checkpoint's weights, for build.py.

Inputs: int32 `input_ids` and `attention_mask` [texts, tokens], `position_ids` [tokens].  Output:
float32 `pooled` [texts, hidden], the mean over the tokens whose mask is 1, not normalised.

int8 is three choices, each measured (median cosine to fp32 over 165 texts 0.9977; rounding every
matrix per column alone gives 0.994 and 0.978 for single words):
* word embeddings: one scale a row (48 MB become 12);
* matrices that read a LayerNorm: one scale a column, the activation rounded as it comes.  Few
  channels are tens of times larger than the rest, so they are scaled down first and the matrix up
  (SmoothQuant, Xiao et al. 2023); the LayerNorm's own weights say which: no calibration text;
* the second feed-forward matrix reads GELU's long tail, the largest error of all: blocks of 128,
  the activation rounded per block too (MatMulNBits), still in integers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, NDArray[np.float32]]
Array = NDArray[Any]

_FUSED = "com.microsoft"  # onnxruntime's own operators
_ROUND = 127  # the symmetric range of int8
_SMOOTHING = 0.7  # of a channel's range that moves from activation to matrix
_SIGMAS = 3.0  # a LayerNorm's output in units of its scale, nearly always
_BLOCK = 128


class EncoderGraph:
    """Collects nodes and weights; `model()` is the finished graph."""

    def __init__(
        self,
        weights: Weights,
        *,
        layers: int,
        heads: int,
        positions: int,
        epsilon: float,
        int8: bool,
    ) -> None:
        self._weights = weights
        self._layers = layers
        self._heads = heads
        self._positions = positions
        self._epsilon = epsilon
        self._int8 = int8
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        """Embeddings, the layers, mean pooling."""
        norm = "embeddings.LayerNorm"
        x = self._embeddings(norm)
        for number in range(self._layers):
            x, norm = self._layer(x, norm, f"encoder.layer.{number}")
        self._pool(x)
        hidden = len(self._weights[f"{norm}.weight"])
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["texts", "tokens"]),
                helper.make_tensor_value_info(
                    "attention_mask", TensorProto.INT32, ["texts", "tokens"]
                ),
                helper.make_tensor_value_info("position_ids", TensorProto.INT32, ["tokens"]),
            ],
            [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["texts", hidden])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def _embeddings(self, norm: str) -> str:
        words = self._weights["embeddings.word_embeddings.weight"]
        # There is one segment: its embedding is added to the positions once, here.
        positions = (
            self._weights["embeddings.position_embeddings.weight"][: self._positions]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        if self._int8:
            scale = _scale(words, axis=1, keepdims=True)
            rounded = self._constant("words.int8", _rounded(words / scale))
            picked = self._node("Gather", [rounded, "input_ids"], "words.picked")
            as_float = self._node("Cast", [picked], "words.float", to=TensorProto.FLOAT)
            scales = self._node(
                "Gather", [self._constant("words.scale", scale), "input_ids"], "words.scales"
            )
            word = self._node("Mul", [as_float, scales], "words.out")
        else:
            word = self._node("Gather", [self._constant("words", words), "input_ids"], "words.out")
        place = self._node(
            "Gather", [self._constant("positions", positions), "position_ids"], "positions.out"
        )
        both = self._node("Add", [word, place], "embeddings.sum")
        return self._node(
            "LayerNormalization",
            [both, *self._norm(norm)],
            f"{norm}.out",
            axis=-1,
            epsilon=self._epsilon,
        )

    def _layer(self, x: str, norm: str, name: str) -> tuple[str, str]:
        """One encoder layer over `x`, which the LayerNorm `norm` wrote; its output and that one's
        norm."""
        attention, outer = f"{name}.attention.output", f"{name}.output"
        context = self._attention(x, norm, f"{name}.attention")
        mixed = self._matmul(context, self._matrix(f"{attention}.dense"), f"{attention}.mixed")
        y = self._add_and_norm(mixed, x, attention)
        reads, matrix = self._smoothed(
            y, f"{attention}.LayerNorm", self._matrix(f"{name}.intermediate.dense"), f"{name}.wide"
        )
        wide = self._matmul(reads, matrix, f"{name}.wide")
        bias = self._constant(f"{name}.wide.bias", self._weights[f"{name}.intermediate.dense.bias"])
        gelu = self._node("BiasGelu", [wide, bias], f"{name}.gelu", domain=_FUSED)
        narrow = self._matmul_in_blocks(gelu, self._matrix(f"{outer}.dense"), f"{outer}.narrow")
        return self._add_and_norm(narrow, y, outer), f"{outer}.LayerNorm"

    def _attention(self, x: str, norm: str, name: str) -> str:
        """Query, key and value in one matrix, so that `x` is rounded once."""
        parts = [f"{name}.self.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self._matrix(part) for part in parts], axis=1)
        bias = np.concatenate([self._weights[f"{part}.bias"] for part in parts])
        reads, matrix = self._smoothed(x, norm, matrix, f"{name}.qkv")
        self._matmul(reads, matrix, f"{name}.qkv", bias)
        self._nodes.append(
            helper.make_node(
                "Split", [f"{name}.qkv"], parts, name=f"{name}.split", axis=-1, num_outputs=3
            )
        )
        return self._node(
            "MultiHeadAttention",
            [*parts, "", "attention_mask"],
            f"{name}.context",
            domain=_FUSED,
            num_heads=self._heads,
        )

    def _add_and_norm(self, x: str, residual: str, name: str) -> str:
        bias = self._constant(f"{name}.dense.bias", self._weights[f"{name}.dense.bias"])
        return self._node(
            "SkipLayerNormalization",
            [x, residual, *self._norm(f"{name}.LayerNorm"), bias],
            f"{name}.out",
            domain=_FUSED,
            epsilon=self._epsilon,
        )

    def _pool(self, x: str) -> None:
        """The mean over the tokens that are not padding."""
        axis = self._constant("pool.axis", np.array([1], np.int64))
        mask = self._node("Cast", ["attention_mask"], "pool.mask", to=TensorProto.FLOAT)
        row = self._node("Unsqueeze", [mask, axis], "pool.row")
        total = self._node(
            "Squeeze", [self._node("MatMul", [row, x], "pool.sums"), axis], "pool.sum"
        )
        count = self._node("ReduceSum", [mask, axis], "pool.count", keepdims=1)
        self._node("Div", [total, count], "pooled")

    def _smoothed(self, x: str, norm: str, matrix: Array, name: str) -> tuple[str, Array]:
        """`x` with its large channels scaled down and `matrix` with those rows scaled up: same
        product."""
        if not self._int8:
            return x, matrix
        reach = np.abs(self._weights[f"{norm}.bias"]) + _SIGMAS * np.abs(
            self._weights[f"{norm}.weight"]
        )
        scale = reach**_SMOOTHING / np.maximum(np.abs(matrix).max(axis=1), 1e-5) ** (1 - _SMOOTHING)
        scale = np.maximum(scale / np.sqrt(scale.max() * scale.min()), 1e-3).astype(np.float32)
        inverse = self._constant(f"{name}.smooth", 1 / scale)
        return self._node("Mul", [x, inverse], f"{name}.smoothed"), matrix * scale[:, None]

    def _matmul(self, x: str, matrix: Array, name: str, bias: Array | None = None) -> str:
        """`x @ matrix (+ bias)`; int8: one scale a column, `x` rounded by its own range at run
        time."""
        if not self._int8:
            product = self._node(
                "MatMul",
                [x, self._constant(f"{name}.matrix", matrix)],
                name if bias is None else f"{name}.product",
            )
            if bias is None:
                return product
            return self._node("Add", [product, self._constant(f"{name}.bias", bias)], name)
        scale = _scale(matrix, axis=0)
        inputs = [
            x,
            self._constant(f"{name}.int8", _rounded(matrix / scale)),
            self._constant(f"{name}.scale", scale),
            self._constant(f"{name}.zero", np.zeros(scale.shape, np.int8)),
        ]
        if bias is not None:
            inputs.append(self._constant(f"{name}.bias", bias))
        return self._node("DynamicQuantizeMatMul", inputs, name, domain=_FUSED)

    def _matmul_in_blocks(self, x: str, matrix: Array, name: str) -> str:
        if not self._int8:
            return self._matmul(x, matrix, name)
        rows, columns = matrix.shape
        blocks = matrix.T.reshape(columns, rows // _BLOCK, _BLOCK)
        scale = _scale(blocks, axis=2)
        # The operator's 8-bit form is unsigned around 128.
        unsigned = (_rounded(blocks / scale[:, :, None]).astype(np.int16) + 128).astype(np.uint8)
        return self._node(
            "MatMulNBits",
            [
                x,
                self._constant(f"{name}.uint8", unsigned),
                self._constant(f"{name}.scale", scale),
            ],
            name,
            domain=_FUSED,
            K=rows,
            N=columns,
            bits=8,
            block_size=_BLOCK,
            accuracy_level=4,  # int8 arithmetic
        )

    def _matrix(self, name: str) -> Array:
        return self._weights[f"{name}.weight"].T  # the checkpoint has them [out, in]

    def _norm(self, name: str) -> list[str]:
        return [
            self._constant(f"{name}.{part}", self._weights[f"{name}.{part}"])
            for part in ("weight", "bias")
        ]

    def _constant(self, name: str, value: Array) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(
        self, operator: str, inputs: list[str], output: str, *, domain: str = "", **fields: Any
    ) -> str:
        self._nodes.append(
            helper.make_node(operator, inputs, [output], name=output, domain=domain, **fields)
        )
        return output


def _scale(values: Array, *, axis: int, keepdims: bool = False) -> NDArray[np.float32]:
    largest = np.abs(values).max(axis=axis, keepdims=keepdims)
    return np.asarray(np.maximum(largest, 1e-12) / _ROUND, np.float32)


def _rounded(values: Array) -> NDArray[np.int8]:
    return np.clip(np.rint(values), -_ROUND, _ROUND).astype(np.int8)
