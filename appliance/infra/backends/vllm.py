"""vLLM: its model list tells each model's context window."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.infra.dialects.openai_chat import OpenAIChatClient, public_name


class Vllm(OpenAIChatClient):
    """`max_model_len` in tokens beside each id; a LoRA adapter is listed as a model of its own."""

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """With the context window."""
        window = row.get("max_model_len")
        # Served from a folder, its id is that folder's path.
        return ModelCard(
            public_name(row["id"]), row["id"], window if isinstance(window, int) else None, "vllm"
        )
