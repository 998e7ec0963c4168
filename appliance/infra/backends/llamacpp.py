"""llama.cpp's server: it names its model by file path, and tells the trained context size."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.infra.dialects.openai_chat import OpenAIChatClient


class LlamaCpp(OpenAIChatClient):
    """The public name of a path is its stem: `/models/Qwen3-8B-Q4.gguf` is `Qwen3-8B-Q4`."""

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """With a name fit to show; `n_ctx` (of one slot) where this version reports it."""
        meta = row.get("meta")
        window = meta.get("n_ctx") if isinstance(meta, dict) else None
        return ModelCard(
            public_name(row["id"]),
            row["id"],
            window if isinstance(window, int) else None,
            "llamacpp",
        )


def public_name(model: str) -> str:
    """A path's stem without `.gguf`; any other name as it is."""
    if model.endswith(".gguf") or model.startswith(("/", "./", "~")) or "\\" in model:
        return PurePosixPath(model.replace("\\", "/")).name.removesuffix(".gguf")
    return model
