"""What a Responses request asks of the answer, in neutral words, and what no backend is told.
Called by `decode`; pure.

`text`, `reasoning` and `include` say several things: each is a param of its own (`text.verbosity`),
so that what a backend is not told can be named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from appliance.domain.conversation.options import (
    Options,
    ReasoningOptions,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.openai_responses.recorded import recorded_tool
from appliance.presentation.openai_responses.tools import (
    CUSTOM,
    FUNCTION,
    chosen,
    names_of,
    tools_of,
)
from appliance.presentation.openai_responses.wire import WireRequest, WireToolChoice

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
_INCLUDE = "include."  # what stands before the name of one, as of a param of its own
OPTION_NAMES: Mapping[str, str] = {
    "max_output_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "user": "user",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "text.format": "response_format",
    "reasoning.effort": "reasoning",
    "top_logprobs": "top_logprobs",
    _INCLUDE + LOGPROBS: "logprobs",
}
# What the gateway itself does, or has nothing to do for: a backend is told none of these.
_OURS = frozenset({
    "background", "include", "input", "instructions", "max_tool_calls", "metadata", "model",
    "previous_response_id", "prompt_cache_key", "safety_identifier", "store", "stream",
    "stream_options", "type",
})  # fmt: skip
# Objects that are taken apart, and words that say what is done anyway.
_TAKEN_APART = frozenset({"text", "reasoning", "tools"})
_USUAL: Mapping[str, frozenset[Any]] = {
    "truncation": frozenset({"disabled"}),
    "service_tier": frozenset({"auto", "default"}),
    "top_logprobs": frozenset({0}),
}
_HONOURED = {
    "text": frozenset({"format"}),
    "reasoning": frozenset({"effort", "summary", "generate_summary"}),
}
_EFFORTS = {effort: effort for effort in ("none", "minimal", "low", "medium", "high", "xhigh")}
_EFFORTS["max"] = "xhigh"
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
}
_SHOWN_CHARS = 64  # of a word of the client's that goes into a header


@dataclass(frozen=True, slots=True)
class AskedOptions:
    """`params` is what was said of them, for the record and for who is told less."""

    options: Options
    params: Mapping[str, Any]


def asked_options(
    wire: WireRequest, sent: Mapping[str, Any], items: Sequence[Item]
) -> AskedOptions:
    """`items` may bring tools.  Raises InvalidRequest naming the field."""
    tools, hosted = tools_of(wire.tools or (), items)
    choice = _tool_choice(wire.tool_choice, tools)
    if isinstance(wire.tool_choice, WireToolChoice) and wire.tool_choice.type == "allowed_tools":
        tools, choice = _allowed(tools, wire.tool_choice)
    options = Options(
        max_output_tokens=wire.max_output_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        logprobs=True if LOGPROBS in (wire.include or ()) or wire.top_logprobs else None,
        top_logprobs=wire.top_logprobs or None,
        user=wire.user or wire.safety_identifier or "",
        tools=tools,
        hosted_tools=hosted,
        tool_choice=choice,
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=_format(wire),
        reasoning=_reasoning(wire),
    )
    return AskedOptions(options, _params(sent, options))


def unhonoured_includes(wire: WireRequest) -> tuple[str, ...]:
    """What `include` asks for that no answer of ours has, for `x-dropped`."""
    asked = set(wire.include or ()) - {ENCRYPTED, LOGPROBS}
    return tuple(sorted(_INCLUDE + name[:_SHOWN_CHARS] for name in asked))


def _params(sent: Mapping[str, Any], options: Options) -> Mapping[str, Any]:
    """Each thing said that is not the gateway's own to do; null says nothing."""
    params = {
        name: value
        for name, value in sent.items()
        if value is not None
        and name not in _OURS
        and name not in _TAKEN_APART
        and not name.startswith("x_")
        and not _is_usual(name, value)
    }
    for name, known in _HONOURED.items():
        said = sent.get(name) or {}
        params |= {f"{name}.{k}": v for k, v in said.items() if v is not None and k not in known}
    if options.response_format is not None:
        params["text.format"] = sent["text"]["format"]
    effort = (sent.get("reasoning") or {}).get("effort")
    if effort is not None:
        # Under another name it has no option, and is named as not told.
        known_effort = options.reasoning is not None
        params["reasoning.effort" if known_effort else f"reasoning.effort={effort[:16]}"] = effort
    if LOGPROBS in (sent.get("include") or ()):
        params[_INCLUDE + LOGPROBS] = True
    if options.tools:
        params["tools"] = [recorded_tool(tool) for tool in options.tools]
    return params


def _is_usual(name: str, value: Any) -> bool:
    usual = _USUAL.get(name)
    return usual is not None and isinstance(value, str | int) and value in usual


def _tool_choice(choice: str | WireToolChoice | None, tools: Sequence[Tool]) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        mode = _MODES.get(choice)
        if mode is None:
            known = ", ".join(_MODES)
            raise InvalidRequest(f"tool_choice must be one of {known}", param="tool_choice")
        return ToolChoice(mode)
    if choice.type in (FUNCTION, CUSTOM):
        if not choice.name:
            raise InvalidRequest("tool_choice.name: which tool?", param="tool_choice.name")
        name = names_of(tools).get((choice.namespace or "", choice.name), choice.name)
        return ToolChoice("tool", name)
    return ToolChoice("auto")


def _allowed(
    tools: tuple[Tool, ...], choice: WireToolChoice
) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Only those it names are offered."""
    mode = _MODES.get(choice.mode or "auto")
    if mode is None or mode == "none":
        raise InvalidRequest(
            "tool_choice.mode must be one of auto, required", param="tool_choice.mode"
        )
    return chosen(tools, choice.tools or ()), ToolChoice(mode)


def _format(wire: WireRequest) -> ResponseFormat | None:
    asked = wire.text.format if wire.text else None
    if asked is None:
        return None
    made = _FORMATS.get(asked.type)
    if made is None:
        known = ", ".join(_FORMATS)
        place = "text.format.type"
        raise InvalidRequest(f"{place} must be one of {known}", param=place)
    if asked.type == "json_schema" and asked.schema is None:
        place = "text.format.schema"
        raise InvalidRequest(f"{place} must be an object", param=place)
    return made(asked)


_FORMATS: Mapping[str, Callable[[Any], ResponseFormat | None]] = {
    "text": lambda asked: None,
    "json_object": lambda asked: ResponseFormat("json_object"),
    "json_schema": lambda asked: ResponseFormat(
        "json_schema", asked.name or "", asked.schema, asked.strict
    ),
}


def _reasoning(wire: WireRequest) -> ReasoningOptions | None:
    effort = _EFFORTS.get(wire.reasoning.effort or "") if wire.reasoning else None
    return ReasoningOptions(effort != "none", effort) if effort else None
