"""The model the tests of this folder share."""

import pytest

from tests.fakes.embedding_model import built_model
from tests.unit.infra.onnx.reference import Reference

__all__ = ["built_model"]


@pytest.fixture(scope="session")
def reference() -> Reference:
    """The encoder in plain numpy."""
    return Reference()
