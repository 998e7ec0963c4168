import json

from openai.types.responses.input_token_count_response import InputTokenCountResponse

from appliance.presentation.openai_responses import input_tokens


def test_a_count_is_what_the_sdk_reads() -> None:
    body = json.loads(input_tokens(42))
    assert body == {"object": "response.input_tokens", "input_tokens": 42}
    InputTokenCountResponse.model_validate(body)
