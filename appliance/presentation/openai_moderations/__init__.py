"""The wire of `POST /v1/moderations`; its errors are OpenAI's error object."""

from appliance.presentation.openai_moderations.decode import decode
from appliance.presentation.openai_moderations.encode import encode

__all__ = ["decode", "encode"]
