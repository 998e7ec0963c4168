"""A ColBERT model at run time: texts in, token vectors out, and a document's score from them.

Blocking and CPU-bound: its batches run in the batcher's thread, beside those of the embeddings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from appliance.infra.onnx.colbert.folder import GRAPH, Folder, read_folder, unusable
from appliance.infra.onnx.colbert.maxsim import Matrix, maxsim, unit
from appliance.infra.onnx.encoder import (
    Direction,
    Ids,
    ModelUnusable,
    open_session,
    ort_errors,
    truncated,
)

_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LEAST_COSINE = 0.98  # of a text's tokens alone and beside a longer one: int8 rounds a batch alike
_PROBE = ("the cat sleeps", "a much longer text about taxes, which are due in April every year")


class Colbert:
    """One model, loaded.  Use `load`; the constructor only stores."""

    def __init__(self, folder: Folder, session: onnxruntime.InferenceSession, output: str) -> None:
        self.folder = folder
        self._session = session
        self._output = output
        self._types = {each.name: _TYPES[each.type] for each in session.get_inputs()}

    @classmethod
    def load(cls, directory: Path, *, threads: int) -> "Colbert":
        """Read, load and try it.  Raises ConfigError with what is wrong."""
        folder = read_folder(directory)
        try:
            session = open_session(folder.graph, threads)
        except ModelUnusable as exc:
            raise unusable(directory, [f"{GRAPH} does not load: {exc}"]) from exc
        output, problems = _graph_problems(session, folder.dimensions)
        if problems:
            raise unusable(directory, problems)
        model = cls(folder, session, output)
        if problem := model._probe():
            raise unusable(directory, [problem])
        return model

    @property
    def name(self) -> str:
        """What callers may ask for."""
        return self.folder.name

    def query_ids(self, text: str) -> Ids:
        """Start, marker, tokens, end, at their whole length."""
        (ids,) = self._ids([text], self.folder.query_marker)
        return ids

    def document_ids(self, texts: Sequence[str]) -> list[Ids]:
        """As of queries."""
        return self._ids(texts, self.folder.document_marker)

    def cut_query(self, ids: Ids) -> Ids:
        """At most `query_length` of them."""
        return truncated(ids, limit=self.folder.query_length)

    def cut_document(self, ids: Ids, direction: Direction) -> Ids:
        """At most `document_length` of them; the marker stays whichever end is cut."""
        limit = self.folder.document_length
        if len(ids) <= limit or direction == "right":
            return truncated(ids, limit=limit)
        return [*ids[:2], *ids[-(limit - 2) :]]

    def query_vectors(self, ids: Ids) -> Matrix:
        """[tokens, dimensions], unit length; padded with the mask token to `query_length`, whose
        vectors count: that is how ColBERT expands a query.  Raises ModelUnusable."""
        folder, length = self.folder, len(ids)
        missing = max(0, folder.query_length - length) if folder.expands_queries else 0
        padded = np.array([[*ids, *[folder.mask_id] * missing]])
        mask = np.ones_like(padded)
        if not folder.attends_to_expansion:
            mask[0, length:] = 0
        vectors: Matrix = self._run(padded, mask)[0]
        return vectors

    def scores(self, query: Matrix, documents: Sequence[Ids]) -> Matrix:
        """[texts]: MaxSim of each.  Raises ModelUnusable."""
        vectors, kept = self.document_vectors(documents)
        return maxsim(query, vectors, kept)

    def document_vectors(self, documents: Sequence[Ids]) -> tuple[Matrix, NDArray[np.bool_]]:
        """[texts, tokens, dimensions] of unit length, and which of them count: neither padding nor
        punctuation."""
        longest = max(map(len, documents))
        ids = np.full((len(documents), longest), self.folder.pad_id)
        mask = np.zeros_like(ids)
        for row, text in enumerate(documents):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        kept = (mask == 1) & ~np.isin(ids, list(self.folder.skipped))
        return self._run(ids, mask), kept

    def _run(self, ids: NDArray[Any], mask: NDArray[Any]) -> Matrix:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: given[name].astype(kind) for name, kind in self._types.items()}
        with ort_errors():
            (found,) = self._session.run([self._output], feed)
        return unit(found.astype(np.float32, copy=False))

    def _ids(self, texts: Sequence[str], marker: int) -> list[Ids]:
        read = [text.lower() for text in texts] if self.folder.lower_case else list(texts)
        encoded = self.folder.tokenizer.encode_batch(read)
        return [_marked(each.ids, each.special_tokens_mask, marker) for each in encoded]

    def _probe(self) -> str:
        """Loading is not proof: what is wrong with what it computes, "" when nothing shows."""
        short, long = (self.cut_document(ids, "right") for ids in self.document_ids(_PROBE))
        try:
            query = self.query_vectors(self.cut_query(self.query_ids(_PROBE[0])))
            alone, _ = self.document_vectors([short])
            together, _ = self.document_vectors([short, long])
        except ModelUnusable as exc:
            return f"{GRAPH} loads and does not run: {exc}"
        wanted = (2, len(long), self.folder.dimensions or alone.shape[-1])
        if together.shape != wanted:
            return f"{GRAPH} makes an array of shape {together.shape} where {wanted} is wanted"
        if not (np.isfinite(query).all() and np.isfinite(together).all()):
            return f"{GRAPH} computes values that are no numbers"
        if np.abs(together[1, : len(long)]).sum(axis=1).min() == 0.0:
            return f"{GRAPH} computes vectors of zeros"
        cosine = float((alone[0] * together[0, : len(short)]).sum(axis=1).min())
        if cosine < _LEAST_COSINE:
            return (
                f"{GRAPH} does not heed attention_mask: a text alone and the same text beside a "
                f"longer one differ (cosine {cosine:.3f})"
            )
        return ""


def _marked(ids: Ids, specials: Sequence[int], marker: int) -> Ids:
    """The marker comes after the token that starts every text, where there is one."""
    at = 1 if specials and specials[0] else 0
    return [*ids[:at], marker, *ids[at:]]


def _graph_problems(
    session: onnxruntime.InferenceSession, dimensions: int
) -> tuple[str, list[str]]:
    """The output to read, and what is wrong with inputs and outputs."""
    problems = []
    inputs = {each.name: each.type for each in session.get_inputs()}
    problems += [f"{GRAPH} has no input {name}" for name in _INPUTS[:2] if name not in inputs]
    problems += [
        f"{GRAPH} has an input {name}, and nobody knows what it wants"
        for name in inputs
        if name not in _INPUTS
    ]
    problems += [
        f"the input {name} of {GRAPH} is a {kind}, not of int64 or int32"
        for name, kind in inputs.items()
        if kind not in _TYPES
    ]
    outputs = [each for each in session.get_outputs() if each.shape and len(each.shape) == 3]
    fitting = [
        each
        for each in outputs
        if not dimensions or not isinstance(each.shape[2], int) or each.shape[2] == dimensions
    ]
    if not outputs:
        problems.append(f"{GRAPH} has no output of token vectors [texts, tokens, dimensions]")
    elif not fitting:
        sizes = ", ".join(f"{each.name} has {each.shape[2]}" for each in outputs)
        problems.append(
            f"no output of {GRAPH} has the {dimensions} dimensions of the settings ({sizes}): was "
            "the linear layer exported, too?"
        )
    elif fitting[0].type != "tensor(float)":
        problems.append(f"the output of {GRAPH} is a {fitting[0].type}, not of float32")
    return (fitting[0].name if fitting else ""), problems
