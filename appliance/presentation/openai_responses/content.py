"""From the content of an item to parts.  Called by `conversation`; pure.

A part we have no word for, or that only OpenAI could read (a file named by its id), is Unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.domain.conversation.encoded import (
    check_base64,
    is_data_url,
    parse_data_url,
    text_of,
)
from appliance.domain.conversation.parts import Document, Image, Refusal, Text, Unknown
from appliance.domain.errors import InvalidRequest

Sent = Mapping[str, Any]
Content = Text | Image | Document | Unknown


def content_of(content: str | Sequence[Sent] | None, place: str) -> tuple[Content, ...]:
    """The parts, in order.  Raises InvalidRequest naming the part below `place`."""
    if not content:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_part(part, f"{place}[{n}]") for n, part in enumerate(content))


def texts_of(parts: Sequence[Sent] | None) -> str:
    """The text of a reasoning item's `summary` or `content`."""
    texts = (part.get("text") for part in parts or ())
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)


def _part(part: Sent, place: str) -> Content:
    kind = part.get("type")
    reader = _PARTS.get(kind) if isinstance(kind, str) else None
    try:
        known = reader(part) if reader else None
    except ValueError as exc:
        raise InvalidRequest(f"{place}: {exc}", param=place) from exc
    return known or Unknown(kind if isinstance(kind, str) else "", part)


def _text(part: Sent) -> Text:
    return Text(_string(part, "text"))


def _refusal(part: Sent) -> Refusal:
    return Refusal(_string(part, "refusal"))


def _image(part: Sent) -> Image | None:
    """`image_url` is a plain text here; None for an image named by its id."""
    url = part.get("image_url")
    if isinstance(url, dict):  # the form of chat completions
        url = url.get("url")
    if url is None and part.get("file_id"):
        return None
    detail = part.get("detail")
    detail = detail if isinstance(detail, str) else ""
    if isinstance(url, str) and is_data_url(url):
        media_type, data = parse_data_url(url)
        return Image(media_type, data, detail=detail)
    if isinstance(url, str) and _is_web(url):
        return Image(url=url, detail=detail)
    raise ValueError("image_url must be an http(s) URL or a data: URL")


def _file(part: Sent) -> Document | None:
    name = part.get("filename")
    name = name if isinstance(name, str) else ""
    if (url := part.get("file_url")) is not None:
        if not isinstance(url, str) or not _is_web(url):
            raise ValueError("file_url must be an http(s) URL")
        return Document(name, url=url)
    if part.get("file_data") is None and part.get("file_id"):
        return None
    data = _string(part, "file_data")
    if not is_data_url(data):
        check_base64(data)
        return Document(name, data=data)
    media_type, data = parse_data_url(data)
    text = text_of(data) if media_type.startswith("text/") else None
    if text is not None:
        return Document(name, media_type, text=text)
    return Document(name, media_type, data=data)


def _string(part: Sent, name: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value


def _is_web(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))


_PARTS: Mapping[str, Callable[[Sent], Content | None]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
}
