"""What we require of Ollama's requests.  Everything else is carried as it came."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from appliance.presentation.json_body import MAX_MESSAGES, MAX_STOPS, MAX_TOOLS, ModelName

Object = dict[str, Any]
MAX_INPUTS = 2048
MAX_DIMENSIONS = 1 << 20  # of any model there may ever be; a row takes 31 bits


class WireCalled(msgspec.Struct):
    """The function of a call; `arguments` is an object, from some clients JSON text."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: Object | str | None = None


class WireCall(msgspec.Struct):
    """One of an assistant message's `tool_calls`; older servers and clients give it no id."""

    function: WireCalled
    id: str | None = None


class WireMessage(msgspec.Struct):
    """One message; `images` are base64 without a prefix."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[WireCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    name: str | None = None  # what `tool_name` was called once


class WireFunction(msgspec.Struct):
    """A function a model may call."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: Object | None = None


class WireTool(msgspec.Struct):
    """One of `tools`."""

    function: WireFunction


class WireOptions(msgspec.Struct):
    """Those members of `options` that other wires know, too; -1 and -2 of `num_predict` mean no
    limit."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_predict: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=MAX_STOPS)] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class WireAsked(msgspec.Struct, kw_only=True):
    """The fields of both requests for an answer."""

    model: ModelName | None = ""
    stream: bool | None = True
    format: str | Object | None = None
    options: WireOptions | None = None
    think: bool | str | None = None
    keep_alive: str | float | None = None
    x_route: str | None = ""
    x_workspace: str | None = ""
    x_project: str | None = ""
    x_conversation: str | None = ""


class WireChat(WireAsked, kw_only=True):
    """`POST /api/chat`; without messages it loads the model."""

    messages: Annotated[list[WireMessage], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[WireTool], Meta(max_length=MAX_TOOLS)] | None = None


class WireGenerate(WireAsked, kw_only=True):
    """`POST /api/generate`; without a prompt it loads the model."""

    prompt: str | None = ""
    system: str | None = ""
    suffix: str | None = ""
    images: list[str] | None = None
    raw: bool | None = False


class WireEmbed(msgspec.Struct, kw_only=True):
    """`POST /api/embed`."""

    input: str | list[str] | None = None
    model: ModelName | None = ""
    truncate: bool | None = True
    dimensions: Annotated[int, Meta(ge=0, le=MAX_DIMENSIONS)] | None = None
    x_project: str | None = None
    x_conversation: str | None = None


class WireEmbeddings(msgspec.Struct, kw_only=True):
    """`POST /api/embeddings`, the older form: one text, one vector."""

    prompt: str | None = ""
    model: ModelName | None = ""
    x_project: str | None = None
    x_conversation: str | None = None


class WireNamed(msgspec.Struct):
    """`POST /api/show` and `/api/pull`; `name` is what `model` was called once."""

    model: ModelName | None = ""
    name: ModelName | None = ""
