"""A server that speaks OpenAI's wire and of which nothing more is known."""

from appliance.infra.dialects.openai_chat import OpenAIChatClient


class OpenAICompatible(OpenAIChatClient):
    """Nothing differs."""
