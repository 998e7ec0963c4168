"""What we require of a Responses request.  Everything else is carried as it came."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.presentation.json_body import MAX_MESSAGES, MAX_TOOLS, ModelName

Object = dict[str, Any]
Identifier = Annotated[str, Meta(min_length=1, max_length=256)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]


class WireFormat(msgspec.Struct):
    """`text.format`: text, json_object or json_schema."""

    type: str
    name: str | None = None
    schema: Object | None = None
    strict: bool | None = None


class WireText(msgspec.Struct):
    """`text`."""

    format: WireFormat | None = None
    verbosity: str | None = None


class WireReasoning(msgspec.Struct):
    """`reasoning`; `generate_summary` is the older name of `summary`."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class WireTool(msgspec.Struct):
    """A function, flat, or a tool of type `custom`, whose input is text of any kind."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None
    format: Object | None = None


class WireNamespace(msgspec.Struct):
    """A tool of type `namespace`, and an item that brings tools, which has no name."""

    tools: list[Object]
    name: str | None = None
    description: str | None = None


class WireToolChoice(msgspec.Struct):
    """`tool_choice` in its long form; `mode` and `tools` are those of `allowed_tools`."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: list[Object] | None = None


class WireRequest(msgspec.Struct, kw_only=True):
    """The fields the gateway itself reads."""

    input: str | Annotated[list[Object], Meta(max_length=MAX_MESSAGES)] | None = None
    instructions: str | None = None
    model: ModelName | None = ""
    stream: bool | None = False
    store: bool | None = True
    background: bool | None = False
    previous_response_id: Identifier | None = None
    include: Annotated[list[str], Meta(max_length=64)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=0)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    parallel_tool_calls: bool | None = None
    tools: Annotated[list[Object], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | WireToolChoice | None = None
    text: WireText | None = None
    reasoning: WireReasoning | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    stream_options: Object | None = None
    x_route: str | None = ""
    x_workspace: str | None = ""
    x_project: str | None = ""
    x_conversation: str | None = ""


class MessageItem(msgspec.Struct):
    """`message`, the type of an item that names none."""

    role: str
    content: str | list[Object] | None = None


class CallItem(msgspec.Struct):
    """`function_call`; `arguments` is JSON text."""

    call_id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    arguments: str | None = None


class CustomCallItem(msgspec.Struct):
    """`custom_tool_call`."""

    call_id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    input: str | None = None


class SearchItem(msgspec.Struct):
    """`tool_search_call` and `tool_search_output`; no `call_id` where no client executed it."""

    call_id: str | None = None
    arguments: Any = None
    tools: list[Object] = []


class OutputItem(msgspec.Struct):
    """`function_call_output` and `custom_tool_call_output`."""

    call_id: Annotated[str, Meta(min_length=1)]
    output: str | list[Object] | None = None
    name: str | None = None


class ReasoningItem(msgspec.Struct):
    """`reasoning`: its text is in `content`, or in `summary` where its client saw no more."""

    summary: list[Object] | None = None
    content: list[Object] | None = None
    encrypted_content: str | None = None


class CompactionItem(msgspec.Struct):
    """`compaction`."""

    encrypted_content: str
