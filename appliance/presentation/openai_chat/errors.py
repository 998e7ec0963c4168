"""OpenAI's error object: four keys, all of them always there."""

import msgspec

from appliance.presentation.errors import ErrorView


def error(view: ErrorView) -> bytes:
    """`{"error":{"message","type","param","code"}}`."""
    return msgspec.json.encode(
        {
            "error": {
                "message": view.message,
                "type": view.kind,
                "param": view.param,
                "code": view.code,
            }
        }
    )
