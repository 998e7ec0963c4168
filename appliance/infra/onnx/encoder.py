"""The model at run time: tokenizer, onnxruntime session and projection.  Texts in, vectors of 256
out.

Blocking and CPU-bound: batching.py calls it from one thread of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state
from tokenizers import Tokenizer

from appliance.domain.errors import PartUnavailable
from appliance.infra.onnx.spec import DIMENSIONS, GRAPHS, MAX_INPUT_TOKENS, TOKENIZER

Ids = list[int]
Direction = Literal["left", "right"]
_PROJECTION = Path(__file__).with_name("data") / "projection.npy"
_ORT_ERRORS = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotFound,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    MemoryError,
)


class ModelUnusable(PartUnavailable):
    """The model does not load, or fails while it runs."""

    def __init__(self, message: str) -> None:
        super().__init__(message, part="inference")


class Encoder:
    """One precision of the model, loaded.  Use `load`; the constructor only stores."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        projection: NDArray[np.float32],
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._projection = projection

    @classmethod
    def load(cls, directory: Path, precision: str, *, threads: int) -> "Encoder":
        """Read one graph of a model directory; `threads` 0 leaves the number to onnxruntime.

        Raises ModelUnusable.  That it loads says nothing of what it computes: see probe.py.
        """
        session = open_session(directory / GRAPHS[precision], threads)
        return cls(session, read_tokenizer(directory / TOKENIZER), projection())

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids with [CLS] and [SEP], at their whole length, however long."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def pooled(self, batch: Sequence[Ids]) -> NDArray[np.float32]:
        """[texts, 384]: the mean over each text's tokens, not normalised.  Raises ModelUnusable."""
        shown = [truncated(ids) for ids in batch]
        longest = max(map(len, shown))
        ids = np.zeros((len(shown), longest), np.int32)
        mask = np.zeros_like(ids)
        for row, text in enumerate(shown):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        feed = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": np.arange(longest, dtype=np.int32),
        }
        with ort_errors():
            rows: NDArray[np.float32] = self._session.run(["pooled"], feed)[0]
        return rows

    def encode(self, batch: Sequence[Ids]) -> NDArray[np.float32]:
        """[texts, 256], not normalised: the projection is linear, so that may come last."""
        rows: NDArray[np.float32] = self.pooled(batch) @ self._projection
        return rows


def open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    """A graph, loaded, as every model of the role runs; `threads` 0 leaves the number to
    onnxruntime.  Raises ModelUnusable."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Spinning costs 28 to 38 ms of CPU per query (16 tokens, 30 a second), against 5 without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch it ever saw, and buys no time at 1024 tokens a batch.
    options.enable_cpu_mem_arena = False
    with ort_errors():
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def truncated(ids: Ids, direction: Direction = "right", *, limit: int = MAX_INPUT_TOKENS) -> Ids:
    """At most `limit` ids: the beginning ("right" is cut off) or the end, [CLS] and [SEP] kept."""
    if len(ids) <= limit:
        return ids
    if direction == "right":
        return [*ids[: limit - 1], ids[-1]]
    return [ids[0], *ids[-(limit - 1) :]]


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row at unit length; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def projection() -> NDArray[np.float32]:
    """[384, 256]: the leading principal directions of general text, by falling weight.

    Not centred, so that it is linear.  Made by `python -m tests.bench.embedding_data projection`.
    """
    matrix: NDArray[np.float32] = np.load(_PROJECTION).astype(np.float32)
    assert matrix.shape[1] == DIMENSIONS
    return matrix


def read_tokenizer(file: Path) -> Tokenizer:
    """It neither cuts nor pads.  Raises ModelUnusable."""
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as exc:  # it raises nothing more specific
        raise ModelUnusable(f"{file} cannot be read: {exc}") from exc
    # The checkpoint's own settings (cut and pad at 128) would hide how long a text really is.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@contextmanager
def ort_errors() -> Iterator[None]:
    """What onnxruntime raises, as ModelUnusable."""
    try:
        yield
    except _ORT_ERRORS as exc:
        raise ModelUnusable(str(exc) or type(exc).__name__) from exc
