"""The model the tests of this folder share."""

from tests.fakes.embedding_model import built_model

__all__ = ["built_model"]
