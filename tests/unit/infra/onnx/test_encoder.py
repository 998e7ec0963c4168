"""Tokens in, vectors out."""

from pathlib import Path

import numpy as np

from appliance.infra.onnx.encoder import Encoder, normalised, projection, truncated
from appliance.infra.onnx.spec import DIMENSIONS, FP32, HIDDEN, MAX_INPUT_TOKENS

CLS, SEP = 101, 102
LONG = [CLS, *range(1000, 1400), SEP]


def test_a_long_text_keeps_its_beginning_and_both_marks() -> None:
    kept = truncated(LONG)
    assert len(kept) == MAX_INPUT_TOKENS
    assert kept == [*LONG[: MAX_INPUT_TOKENS - 1], SEP]


def test_cut_on_the_left_it_keeps_its_end() -> None:
    kept = truncated(LONG, "left")
    assert kept == [CLS, *LONG[-(MAX_INPUT_TOKENS - 1) :]]


def test_a_text_that_fits_is_left_alone() -> None:
    assert truncated([CLS, 7, SEP]) == [CLS, 7, SEP]


def test_padding_changes_nothing_in_fp32(built_model: Path) -> None:
    encoder = Encoder.load(built_model, FP32, threads=1)
    short, long = encoder.tokenize(["one short text", "another text, a little longer " * 8])
    alone, together = encoder.encode([short])[0], encoder.encode([short, long])[0]
    assert np.allclose(alone, together, atol=1e-4)


def test_tokenizing_does_not_cut(built_model: Path) -> None:
    encoder = Encoder.load(built_model, FP32, threads=1)
    assert len(encoder.tokenize(["word " * 400])[0]) == 402


def test_the_projection_keeps_lengths_and_angles_of_its_space() -> None:
    matrix = projection()
    assert matrix.shape == (HIDDEN, DIMENSIONS)
    assert np.allclose(matrix.T @ matrix, np.eye(DIMENSIONS), atol=2e-3)


def test_normalised_rows_have_unit_length_and_zero_stays_zero() -> None:
    rows = normalised(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert rows.tolist() == [[np.float32(0.6), np.float32(0.8)], [0.0, 0.0]]
