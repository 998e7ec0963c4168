"""Ollama's native wire: /api/chat and /api/generate, embeddings, what there is of models, errors.

`lines.py` says how the two kinds of answer differ.
"""

from appliance.presentation.ollama.decode import decode_chat, decode_generate
from appliance.presentation.ollama.embed import (
    decode_embed,
    decode_embeddings,
    encode_embed,
    encode_embeddings,
)
from appliance.presentation.ollama.encode import encoder
from appliance.presentation.ollama.errors import error
from appliance.presentation.ollama.lines import keep_alive, loaded
from appliance.presentation.ollama.models import (
    decode_named,
    not_found,
    pulled,
    running,
    show,
    tags,
    version,
)

__all__ = [
    "decode_chat",
    "decode_embed",
    "decode_embeddings",
    "decode_generate",
    "decode_named",
    "encode_embed",
    "encode_embeddings",
    "encoder",
    "error",
    "keep_alive",
    "loaded",
    "not_found",
    "pulled",
    "running",
    "show",
    "tags",
    "version",
]
