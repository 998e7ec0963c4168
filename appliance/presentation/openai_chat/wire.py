"""What we require of a chat completion request.  Everything else is carried as it came."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from appliance.presentation.json_body import MAX_MESSAGES, MAX_TOOLS
from appliance.presentation.openai_request import WireSampling

Object = dict[str, Any]


class WireCalled(msgspec.Struct):
    """The function of a call; `arguments` is JSON text, from some clients the object itself."""

    name: str
    arguments: str | Object | None = None


class WireCall(msgspec.Struct):
    """One of an assistant message's `tool_calls`."""

    id: str | None = None
    type: str | None = None
    function: WireCalled | None = None


class WireMessage(msgspec.Struct):
    """One message: `content` is text, parts, or null beside tool calls.

    The reasoning fields are nobody's standard, and are read only where they are what we know.
    """

    role: Annotated[str, Meta(min_length=1)]
    content: str | list[Object] | None = None
    tool_calls: list[WireCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    function_call: WireCalled | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None  # beside a `content` of null


class WireFunction(msgspec.Struct):
    """A function a model may call."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class WireTool(msgspec.Struct):
    """One of `tools`; without a type it is a function."""

    type: str | None = None
    function: WireFunction | None = None


class WireNamed(msgspec.Struct):
    """A function by its name."""

    name: Annotated[str, Meta(min_length=1)]


class WireToolChoice(msgspec.Struct):
    """`tool_choice` in its long form."""

    type: str | None = None
    function: WireNamed | None = None


class WireSchema(msgspec.Struct):
    """`response_format.json_schema`."""

    name: str | None = None
    schema: Object | None = None
    strict: bool | None = None


class WireFormat(msgspec.Struct):
    """`response_format`; `schema` beside `json_object` is llama.cpp's."""

    type: str
    json_schema: WireSchema | None = None
    schema: Object | None = None


class WireReasoning(msgspec.Struct):
    """`reasoning`, OpenRouter's object."""

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class WireRequest(WireSampling, kw_only=True):
    """The fields the gateway itself reads."""

    messages: Annotated[list[WireMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: Annotated[list[WireTool], Meta(max_length=MAX_TOOLS)] | None = None
    functions: Annotated[list[WireFunction], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | WireToolChoice | None = None
    function_call: str | WireNamed | None = None
    parallel_tool_calls: bool | None = None
    response_format: WireFormat | None = None
    reasoning_effort: str | None = None
    reasoning: WireReasoning | None = None
