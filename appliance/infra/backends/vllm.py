"""vLLM: its model list tells each model's context window, and it counts tokens for us."""

from collections.abc import Mapping
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.usage import count_of
from appliance.domain.identity import Identity
from appliance.infra.dialects.model_names import public_name
from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.dialects.openai_chat.traits import OPTIONS, Traits, template_switch

_COUNTED = ("model", "messages", "tools", "chat_template_kwargs")


class Vllm(OpenAIChatClient):
    """`max_model_len` in tokens beside each id; a LoRA adapter is listed as a model of its own."""

    # Reasoning under both names: it reads one before PR 33402 and the other since, and templates
    # of GLM and Kimi look for `reasoning_content` (vllm#33616).
    traits = Traits(carries=OPTIONS | {"top_k", "reasoning"}, reasoning=template_switch)

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """With the context window."""
        # Served from a folder, its id is that folder's path.
        window = count_of(row.get("max_model_len"))
        return ModelCard(public_name(row["id"]), row["id"], window, "vllm", loaded=True)

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        """`POST /tokenize` at the server's root, which renders the chat template first."""
        body = self._asked(request, model, stream=False).body
        fields = {name: body[name] for name in _COUNTED if name in body}
        fields["add_generation_prompt"] = True
        told = await self._upstream.ask(self._root("/tokenize"), fields, identity)
        count = told.get("count")
        return count if isinstance(count, int) else None
