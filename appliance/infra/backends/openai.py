"""OpenAI itself: newer models refuse `max_tokens`, and messages with fields of other servers."""

from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.dialects.openai_chat.traits import OPTIONS, Traits, reasoning_effort


class OpenAI(OpenAIChatClient):
    """`max_completion_tokens` is what every current model takes."""

    traits = Traits(
        carries=OPTIONS | {"reasoning"},
        reasoning_fields=(),
        knows_developer=True,
        knows_refusals=True,
        reads_files=True,
        takes_call_extras=False,
        max_tool_name=64,
        max_tokens="max_completion_tokens",
        reasoning=reasoning_effort,
    )
