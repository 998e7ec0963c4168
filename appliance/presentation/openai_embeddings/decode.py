"""From the body of an embeddings request to EmbeddingRequest; pure."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import InvalidRequest
from appliance.presentation.extensions import extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.openai_embeddings.wire import MAX_INPUTS, WireRequest

_OWN = frozenset({"model", "input", "encoding_format", "dimensions"})


def decode(body: bytes, headers: Mapping[str, str]) -> tuple[EmbeddingRequest, str]:
    """The request, and the encoding of its answer: `float` or `base64`.  Raises InvalidRequest."""
    sent = decode_object(body)
    wire = convert(sent, WireRequest)
    request = EmbeddingRequest(
        model=wire.model or "",
        texts=_texts(wire.input),
        dimensions=wire.dimensions,
        params={k: v for k, v in sent.items() if k not in _OWN and not k.startswith("x_")},
        extensions=extensions(
            {"project": wire.x_project, "conversation": wire.x_conversation}, headers
        ),
    )
    return request, wire.encoding_format or "float"


def _texts(given: Any) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InvalidRequest("input must be a text or a list of texts", param="input")
    if len(texts) > MAX_INPUTS:
        raise InvalidRequest(f"input holds more than {MAX_INPUTS} texts", param="input")
    if any(isinstance(text, int | list) for text in texts):
        raise InvalidRequest(
            "input holds token ids, which belong to one model's tokenizer: send the texts",
            param="input",
        )
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise InvalidRequest(
                f"input[{position}] must be a text that is not empty", param="input"
            )
    return tuple(texts)
