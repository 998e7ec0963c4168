"""What a request of Ollama's wire asks of the answer, in neutral words.  Called by decode.py; pure.

Its members of `options` are params of their own: what another dialect cannot say of them is named
one by one (`options.mirostat`) in `x-dropped`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.domain.conversation.options import Options, ReasoningOptions, ResponseFormat, Tool
from appliance.domain.errors import InvalidRequest
from appliance.presentation.ollama.wire import WireAsked, WireOptions, WireTool

NESTED = "options"
OPTION_NAMES: Mapping[str, str] = {
    "options.temperature": "temperature",
    "options.top_p": "top_p",
    "options.top_k": "top_k",
    "options.num_predict": "max_output_tokens",
    "options.stop": "stop",
    "options.seed": "seed",
    "options.presence_penalty": "presence_penalty",
    "options.frequency_penalty": "frequency_penalty",
    "format": "response_format",
    "think": "reasoning",
    "tools": "tools",
    "suffix": "suffix",
}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "xhigh"}
_UNSAID = WireOptions()


def options_of(wire: WireAsked) -> Options:
    """All but tools and suffix.  Raises InvalidRequest for a format that is none."""
    asked = wire.options or _UNSAID
    limit = asked.num_predict
    return Options(
        max_output_tokens=limit if limit is not None and limit > 0 else None,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        stop=_stop(asked.stop),
        seed=asked.seed,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        response_format=_format(wire.format),
        reasoning=_reasoning(wire.think),
    )


def tools_of(sent: Sequence[WireTool], sources: Sequence[Mapping[str, Any]]) -> tuple[Tool, ...]:
    """In order, each with what the client sent."""
    pairs = zip((tool.function for tool in sent), sources, strict=True)
    return tuple(
        Tool(called.name, called.description or "", called.parameters or {}, source=source)
        for called, source in pairs
    )


def _stop(given: str | list[str] | None) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given or ()
    return tuple(text for text in texts if text)


def _format(asked: str | Mapping[str, Any] | None) -> ResponseFormat | None:
    if not asked:
        return None
    if asked == "json":
        return ResponseFormat("json_object")
    if isinstance(asked, str):
        raise InvalidRequest('format must be "json" or a JSON schema', param="format")
    return ResponseFormat("json_schema", schema=asked)


def _reasoning(think: bool | str | None) -> ReasoningOptions | None:
    """Yes, no, or a level; a word we do not know is a wish to think."""
    if think is None or think == "":
        return None
    if isinstance(think, bool):
        return ReasoningOptions(think)
    return ReasoningOptions(True, _EFFORTS.get(think, ""))
