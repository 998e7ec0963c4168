"""The wire of `POST /v1/embeddings`."""

from appliance.presentation.openai_embeddings.decode import decode
from appliance.presentation.openai_embeddings.encode import encode

__all__ = ["decode", "encode"]
