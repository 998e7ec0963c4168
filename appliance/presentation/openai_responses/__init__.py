"""OpenAI Responses: the wire of `POST /v1/responses` and of what is stored of it."""

from appliance.presentation.openai_errors import error
from appliance.presentation.openai_responses.compacted import compacted
from appliance.presentation.openai_responses.counted import input_tokens
from appliance.presentation.openai_responses.decode import decode
from appliance.presentation.openai_responses.encode import encoder
from appliance.presentation.openai_responses.rebuild import rebuilt
from appliance.presentation.openai_responses.steps import deltas_of
from appliance.presentation.openai_responses.stored import (
    deleted,
    failure,
    input_items_page,
    output_items,
)

__all__ = [
    "compacted",
    "decode",
    "deleted",
    "deltas_of",
    "encoder",
    "error",
    "failure",
    "input_items_page",
    "input_tokens",
    "output_items",
    "rebuilt",
]
