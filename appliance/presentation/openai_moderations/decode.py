"""From the body of a moderations request to ModerationRequest; pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.domain.conversation.encoded import is_data_url, parse_data_url
from appliance.domain.errors import InvalidRequest
from appliance.domain.moderation.ports import ModerationInput
from appliance.domain.moderation.service import ModerationRequest
from appliance.presentation.extensions import extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.openai_moderations.wire import (
    MAX_IMAGES,
    MAX_INPUTS,
    MAX_PARTS,
    MAX_URL_CHARS,
    ImagePart,
    TextPart,
    WireRequest,
)

_OWN = frozenset({"model", "input"})


def decode(body: bytes, headers: Mapping[str, str]) -> ModerationRequest:
    """Raises InvalidRequest.  A list of texts is an input each, a list of parts is one."""
    sent = decode_object(body)
    wire = convert(sent, WireRequest)
    return ModerationRequest(
        model=wire.model or "",
        inputs=_inputs(wire.input),
        params={k: v for k, v in sent.items() if k not in _OWN and not k.startswith("x_")},
        extensions=extensions(
            {"project": wire.x_project, "conversation": wire.x_conversation}, headers
        ),
    )


def _inputs(given: Any) -> tuple[ModerationInput, ...]:
    if isinstance(given, str):
        return (ModerationInput((_text(given, "input"),)),)
    if not isinstance(given, list) or not given:
        raise InvalidRequest(
            "input must be a text, a list of texts, or a list of parts", param="input"
        )
    if isinstance(given[0], dict):
        return (_parts(given),)
    if len(given) > MAX_INPUTS:
        raise InvalidRequest(f"input holds more than {MAX_INPUTS} texts", param="input")
    return tuple(ModerationInput((_text(text, f"input[{n}]"),)) for n, text in enumerate(given))


def _text(given: Any, place: str) -> str:
    if not isinstance(given, str) or not given:
        raise InvalidRequest(f"{place} must be a text that is not empty", param=place)
    return given


def _parts(given: list[Any]) -> ModerationInput:
    if len(given) > MAX_PARTS:
        raise InvalidRequest(f"input holds more than {MAX_PARTS} parts", param="input")
    texts: list[str] = []
    images: list[str] = []
    for position, sent in enumerate(given):
        place = f"input[{position}]"
        part = _part(sent, place)
        if isinstance(part, TextPart):
            texts.append(_text(part.text, f"{place}.text"))
        else:
            images.append(_url(part.image_url.url, f"{place}.image_url.url"))
    if len(images) > MAX_IMAGES:
        raise InvalidRequest(f"input holds more than {MAX_IMAGES} images", param="input")
    return ModerationInput(tuple(texts), tuple(images), parts=True)


def _part(sent: Any, place: str) -> TextPart | ImagePart:
    if not isinstance(sent, dict):
        raise InvalidRequest(f"{place} must be a part, as the others are", param=place)
    try:
        return msgspec.convert(sent, TextPart | ImagePart)
    except msgspec.ValidationError as exc:
        text = str(exc).partition(" - at ")[0]
        raise InvalidRequest(
            f"{place} must be a part of type text or image_url: {text}", param=place
        ) from exc


def _url(given: str, place: str) -> str:
    if is_data_url(given):
        try:
            parse_data_url(given)
        except ValueError as exc:
            raise InvalidRequest(f"{place}: {exc}", param=place) from exc
    elif not given.lower().startswith(("http://", "https://")) or len(given) > MAX_URL_CHARS:
        raise InvalidRequest(
            f"{place} must be an http(s) URL of at most {MAX_URL_CHARS} characters, or a data: URL",
            param=place,
        )
    return given
