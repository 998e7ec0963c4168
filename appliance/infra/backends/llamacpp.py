"""llama.cpp's server: it names its model by file path, and tells the trained context size."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.infra.dialects.openai_chat import OpenAIChatClient, public_name


class LlamaCpp(OpenAIChatClient):
    """Its model list says more than others'."""

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
