"""A ColBERT folder of a few kilobytes: a real graph, a real tokenizer, words that mean themselves.

A token's vector is that of its word and the mean over the text's tokens, so that it
matters what is attended to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[Q] ", "[D] ", ".", ",", "!")
_SENTENCES = """
the bicycle is in the shed and a bike is in the sea
which red fox sleeps about a cat where the sky is blue
a much longer text about taxes which are due in april every year
"""
WORDS = tuple(dict.fromkeys(_SENTENCES.split()))
VOCABULARY = {word: number for number, word in enumerate((*SPECIALS, *WORDS))}
DIMENSIONS = 16
CONTEXT = 1.0
CONFIG: Mapping[str, Any] = {
    "model_name": "somebody/tiny-colbert",
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 8,
    "document_length": 12,
    "do_query_expansion": True,
    "attend_to_expansion_tokens": False,
    "skiplist_words": [".", ",", "!"],
    "embedding_dim": DIMENSIONS,
}


def word_vectors() -> NDArray[np.float32]:
    """[vocabulary, DIMENSIONS], the same in every run."""
    made = np.random.default_rng(7).normal(size=(len(VOCABULARY), DIMENSIONS))
    return made.astype(np.float32)


def colbert_folder(
    folder: Path,
    *,
    config: Mapping[str, Any] = CONFIG,
    config_name: str = "onnx_config.json",
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    heeds_mask: bool = True,
    kind: int = TensorProto.INT64,
    scale: float = 1.0,
) -> Path:
    """Written into `folder`, which is returned.  What may be wrong with one is an argument."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph(inputs, heeds_mask=heeds_mask, kind=kind, scale=scale), folder / "model.onnx")
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / config_name).write_text(json.dumps(config))
    return folder


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, VOCABULARY[name]) for name in ("[CLS]", "[SEP]")],
    )
    return made


def graph(inputs: tuple[str, ...], *, heeds_mask: bool, kind: int, scale: float) -> onnx.ModelProto:
    node = helper.make_node
    constants = [
        numpy_helper.from_array(word_vectors() * np.float32(scale), "words"),
        numpy_helper.from_array(np.array([1], np.int64), "second"),
        numpy_helper.from_array(np.array([2], np.int64), "third"),
        numpy_helper.from_array(np.array(CONTEXT, np.float32), "share"),
    ]
    counted = "attention_mask" if heeds_mask else "ones"
    nodes = [
        node("Gather", ["words", "input_ids"], ["own"]),
        node("Equal", ["input_ids", "input_ids"], ["same"]),
        node("Cast", ["same"], ["ones"], to=TensorProto.INT64),
        node("Cast", [counted], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "third"], ["column"]),
        node("Mul", ["own", "column"], ["shown"]),
        node("ReduceSum", ["shown", "second"], ["total"], keepdims=1),
        node("ReduceSum", ["column", "second"], ["count"], keepdims=1),
        node("Div", ["total", "count"], ["mean"]),
        node("Mul", ["mean", "share"], ["context"]),
        node("Add", ["own", "context"], ["output"]),
    ]
    shape = ["texts", "tokens"]
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [*shape, DIMENSIONS])],
        constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def by_hand(query: str, text: str, config: Mapping[str, Any] = CONFIG) -> float:
    """MaxSim of the two, token by token in loops of plain Python over float64."""
    asked = _vectors(query, "[Q] ", config["query_length"], expand=True)
    found = [
        vector
        for token, vector in _vectors(text, "[D] ", config["document_length"], expand=False)
        if token not in config["skiplist_words"]
    ]
    total = 0.0
    for _, left in asked:
        total += max(sum(a * b for a, b in zip(left, right, strict=True)) for right in found)
    return total


def _vectors(text: str, marker: str, length: int, *, expand: bool) -> list[tuple[str, list[float]]]:
    inner = tokenizer().encode(text, add_special_tokens=False).tokens
    tokens = ["[CLS]", marker, *inner[: length - 3], "[SEP]"]
    own = word_vectors().astype(np.float64)
    mean = np.mean([own[VOCABULARY[token]] for token in tokens], axis=0)
    if expand:
        tokens += ["[MASK]"] * (length - len(tokens))
    rows = [own[VOCABULARY[token]] + CONTEXT * mean for token in tokens]
    unit = [(row / np.linalg.norm(row)).tolist() for row in rows]
    return list(zip(tokens, unit, strict=True))
