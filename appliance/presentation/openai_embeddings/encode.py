"""From vectors to OpenAI's embeddings object; pure."""

import base64
import sys
from array import array

import msgspec

from appliance.domain.embeddings.ports import Embedded
from appliance.domain.vectorstore.ports import Vector


def encode(embedded: Embedded, model: str, encoding_format: str) -> bytes:
    """`base64` is of little-endian float32; rows in the order of the inputs."""
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _base64(vector) if encoding_format == "base64" else list(vector),
        }
        for index, vector in enumerate(embedded.vectors)
    ]
    tokens = embedded.input_tokens or 0
    return msgspec.json.encode(
        {
            "object": "list",
            "data": rows,
            "model": model or embedded.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _base64(vector: Vector) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")
