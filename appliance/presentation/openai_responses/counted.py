"""The answer to `POST /v1/responses/input_tokens`; pure."""

from appliance.presentation.openai_responses.frames import encode_json


def input_tokens(count: int) -> bytes:
    """A count."""
    return encode_json({"object": "response.input_tokens", "input_tokens": count})
