"""The wire of /api/embed, and of the older /api/embeddings; pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.domain.conversation.request import Extensions
from appliance.domain.embeddings.ports import Embedded
from appliance.domain.embeddings.service import EmbeddingRequest
from appliance.domain.errors import InvalidRequest
from appliance.presentation.extensions import extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.ollama.wire import MAX_INPUTS, WireEmbed, WireEmbeddings

DIALECT = "ollama"
_OWN = frozenset({"model", "input", "prompt", "dimensions"})


def decode_embed(body: bytes, headers: Mapping[str, str]) -> EmbeddingRequest:
    """Without texts where only the model is to be loaded.  Raises InvalidRequest."""
    sent = decode_object(body)
    wire = convert(sent, WireEmbed)
    given = [wire.input] if isinstance(wire.input, str) else wire.input or []
    if len(given) > MAX_INPUTS:
        raise InvalidRequest(f"input holds more than {MAX_INPUTS} texts", param="input")
    texts = () if given == [""] else tuple(given)
    for position, text in enumerate(texts):
        if not text:
            raise InvalidRequest(f"input[{position}] must not be empty", param=f"input[{position}]")
    return EmbeddingRequest(
        wire.model or "",
        texts,
        wire.dimensions or None,
        _params(sent),
        _extensions(wire, headers),
        DIALECT,
        wire.truncate is not False,
    )


def decode_embeddings(body: bytes, headers: Mapping[str, str]) -> EmbeddingRequest:
    """The same of the older form, which always truncates."""
    sent = decode_object(body)
    wire = convert(sent, WireEmbeddings)
    texts = (wire.prompt,) if wire.prompt else ()
    params = {**_params(sent), "truncate": True}
    asked = _extensions(wire, headers)
    return EmbeddingRequest(wire.model or "", texts, None, params, asked, DIALECT, truncate=True)


def encode_embed(embedded: Embedded, model: str, took_ns: int) -> bytes:
    """A row for each text; `took_ns` is measured from outside."""
    told: dict[str, Any] = {"model": model or embedded.model}
    told["embeddings"] = [list(vector) for vector in embedded.vectors]
    told["total_duration"] = took_ns
    if embedded.input_tokens is not None:
        told["prompt_eval_count"] = embedded.input_tokens
    return msgspec.json.encode(told)


def encode_embeddings(embedded: Embedded, model: str, took_ns: int) -> bytes:
    """The one vector; empty for no text."""
    vector = embedded.vectors[0] if embedded.vectors else ()
    return msgspec.json.encode({"embedding": list(vector)})


def _params(sent: Mapping[str, Any]) -> dict[str, Any]:
    """What only a backend of this dialect reads."""
    asked = {k: v for k, v in sent.items() if k not in _OWN and not k.startswith("x_")}
    return {"truncate": True, **{k: v for k, v in asked.items() if v is not None}}


def _extensions(wire: WireEmbed | WireEmbeddings, headers: Mapping[str, str]) -> Extensions:
    return extensions({"project": wire.x_project, "conversation": wire.x_conversation}, headers)
