"""llama.cpp's server: it names its model by file path, tells the context size, counts tokens."""

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.parts import Image, Part, ToolResult
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.usage import count_of
from appliance.domain.identity import Identity
from appliance.infra.dialects.model_names import public_name
from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.dialects.openai_chat.traits import OPTIONS, Traits, template_switch


class LlamaCpp(OpenAIChatClient):
    """Its model list says more than others'."""

    traits = Traits(carries=OPTIONS | {"top_k", "reasoning"}, reasoning=template_switch)

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """With a name fit to show; `n_ctx` (of one slot) where this version reports it."""
        meta = row.get("meta")
        window = count_of(meta.get("n_ctx")) if isinstance(meta, dict) else None
        status = row.get("status")  # of a server with several models, which loads them when asked
        loaded = not isinstance(status, dict) or status.get("value") == "loaded"
        return ModelCard(public_name(row["id"]), row["id"], window, "llamacpp", loaded=loaded)

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        """The template's text from `/apply-template`, then `/tokenize`: the figure a chat reports
        as `prompt_tokens`.  None with images, whose tokens are in neither."""
        if any(_has_image(message.parts) for message in request.messages):
            return None
        body = self._asked(request, model, stream=False).body
        rendered = await self._upstream.ask(self._root("/apply-template"), body, identity)
        # As a chat is tokenized there: special tokens are the template's, and one at the beginning
        # the model's.
        text = {"content": rendered.get("prompt"), "add_special": True, "parse_special": True}
        told = await self._upstream.ask(self._root("/tokenize"), {"model": model, **text}, identity)
        tokens = told.get("tokens")
        return len(tokens) if isinstance(tokens, list) else None


def _has_image(parts: Iterable[Part]) -> bool:
    return any(
        isinstance(part, Image) or (isinstance(part, ToolResult) and _has_image(part.parts))
        for part in parts
    )
