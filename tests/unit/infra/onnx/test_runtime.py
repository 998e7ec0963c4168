"""Loading is not proof: what does not compute what it should is not used, and that is said."""

import logging
from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.infra.onnx.runtime import model_dir, open_verified
from appliance.infra.onnx.spec import FP32, INT8
from tests.fakes.embedding_model import with_truncated, with_wrong


def test_int8_serves_where_it_passes(built_model: Path) -> None:
    model = open_verified(built_model, threads=1)
    assert (model.precision, model.degraded) == (INT8, "")
    assert model.cosine >= 0.99


def test_an_int8_graph_that_runs_and_is_wrong_gives_way_to_fp32(
    built_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = with_wrong(built_model, tmp_path / "wrong", INT8)
    with caplog.at_level(logging.WARNING, "appliance.inference"):
        model = open_verified(wrong, threads=1)
    assert model.precision == FP32
    assert model.cosine >= 0.9996
    assert "int8 failed its probe" in model.degraded
    assert [record.getMessage() for record in caplog.records] == ["model_rejected"]


def test_an_int8_graph_that_does_not_load_gives_way_to_fp32(
    built_model: Path, tmp_path: Path
) -> None:
    model = open_verified(with_truncated(built_model, tmp_path / "cut", INT8), threads=1)
    assert model.precision == FP32
    assert "int8 does not run here" in model.degraded


def test_no_graph_that_passes_is_an_error_that_says_what_to_do(
    built_model: Path, tmp_path: Path
) -> None:
    wrong = with_wrong(built_model, tmp_path / "wrong", INT8, FP32)
    with pytest.raises(ConfigError, match=r"fp32 failed its probe.*build-model --force"):
        open_verified(wrong, threads=1)


def test_a_missing_model_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`appliance build-model --dir .*nowhere`"):
        model_dir(str(tmp_path / "nowhere"))
