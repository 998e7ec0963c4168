"""What we read of a moderations request."""

from typing import Any

import msgspec

from appliance.presentation.json_body import ModelName

MAX_INPUTS = 1024
MAX_PARTS = 256
MAX_IMAGES = 8  # of one input; each that is a URL is fetched
MAX_URL_CHARS = 8192  # of one that is fetched


class WireRequest(msgspec.Struct):
    """`input` is checked by hand: its three shapes cannot be told apart by type alone."""

    input: Any
    model: ModelName | None = ""
    x_project: str | None = None
    x_conversation: str | None = None


class ImageUrl(msgspec.Struct):
    """Where an image is, or the image itself in a data: URL."""

    url: str


class TextPart(msgspec.Struct, tag="text"):
    """A text of a multi-part input."""

    text: str


class ImagePart(msgspec.Struct, tag="image_url"):
    """An image of a multi-part input."""

    image_url: ImageUrl
