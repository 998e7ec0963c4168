"""OpenAI itself: newer models refuse `max_tokens`."""

from collections.abc import Mapping
from typing import Any

from appliance.infra.dialects.openai_chat import OpenAIChatClient


class OpenAI(OpenAIChatClient):
    """`max_completion_tokens` is what every current model takes."""

    def parameters(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """With `max_tokens` under its present name."""
        if "max_tokens" not in params:
            return params
        renamed = {k: v for k, v in params.items() if k != "max_tokens"}
        renamed.setdefault("max_completion_tokens", params["max_tokens"])
        return renamed
