"""The wire of `POST /v1/rerank`: Cohere's and Jina's, which are one but for a few fields.  Errors
have OpenAI's shape."""

from appliance.presentation.rerank.decode import decode
from appliance.presentation.rerank.encode import encode

__all__ = ["decode", "encode"]
