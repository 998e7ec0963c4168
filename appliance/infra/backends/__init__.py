"""The backend kinds.  A kind is one new file here plus one line in BACKENDS."""

from collections.abc import Callable, Mapping

from appliance.config.schema import BackendConfig
from appliance.infra.backends.llamacpp import LlamaCpp
from appliance.infra.backends.lmstudio import LmStudio
from appliance.infra.backends.openai import OpenAI
from appliance.infra.backends.openai_compatible import OpenAICompatible
from appliance.infra.backends.vllm import Vllm
from appliance.infra.dialects.openai_chat import OpenAIChatClient
from appliance.infra.http.client import HttpClient

BACKENDS: Mapping[str, Callable[[BackendConfig, HttpClient], OpenAIChatClient]] = {
    "vllm": Vllm,
    "llamacpp": LlamaCpp,
    "lmstudio": LmStudio,
    "openai": OpenAI,
    "openai-compatible": OpenAICompatible,
}
