"""What we read of an embeddings request."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.presentation.json_body import ModelName

MAX_INPUTS = 2048
MAX_DIMENSIONS = 1 << 20  # of any model there may ever be; a row takes 31 bits


class WireRequest(msgspec.Struct):
    """`input` is checked by hand: its four shapes cannot be told apart by type alone."""

    input: Any
    model: ModelName | None = ""
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    x_project: str | None = None
    x_conversation: str | None = None
