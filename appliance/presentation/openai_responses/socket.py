"""The frames of WebSocket mode: what a client sends becomes a body of POST /v1/responses, and the
events that answers become text frames.  Pure.

A client sends `{"type": "response.create", …}` with the fields of the body.  `stream_id` names a
lane of the connection: turns run one after the other whatever their lanes, and every frame says
which one it belongs to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.errors import ErrorView

CREATE = "response.create"
MAX_LANE_CHARS = 256
_DATA = b"data: "


class _Envelope(msgspec.Struct, omit_defaults=True):
    """What a frame has beside the fields of the body, and those that mean nothing here."""

    type: str = ""
    stream_id: Annotated[str, msgspec.Meta(max_length=MAX_LANE_CHARS)] | None = None
    generate: bool | None = None
    background: bool | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """`generate` False: the client prepares a later turn and wants no answer to this one."""

    kind: str
    lane: str
    generate: bool
    background: bool
    fields: dict[str, msgspec.Raw]

    @property
    def previous(self) -> str:
        """The response it continues, also where the rest of it is wrong; "" for none."""
        named = self.fields.get("previous_response_id")
        told = None if named is None else msgspec.json.decode(named)
        return told if isinstance(told, str) else ""

    def body(self) -> bytes:
        """As it would be posted.  Raises InvalidRequest for a frame that asks for no response."""
        if self.kind != CREATE:
            raise InvalidRequest(
                f"A frame's type must be {CREATE}, not {self.kind!r}.",
                param="type",
                code="unknown_event_type",
            )
        if self.background:
            raise InvalidRequest(
                "background is not for a WebSocket, which would be waiting for it: POST it.",
                param="background",
            )
        return msgspec.json.encode({"stream": True, **self.fields})


def read_frame(text: str) -> Frame:
    """Raises InvalidRequest for what is not a JSON object, or has another type where the frame
    itself is described."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        told = {name: fields.pop(name) for name in _Envelope.__struct_fields__ if name in fields}
        envelope = msgspec.json.decode(msgspec.json.encode(told), type=_Envelope)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"The frame is not understood: {exc}", code="invalid_frame") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidRequest(f"The frame is not valid JSON: {exc}", code="invalid_json") from exc
    return Frame(
        envelope.type,
        envelope.stream_id or "",
        envelope.generate is not False,
        bool(envelope.background),
        fields,
    )


def messages(frames: bytes, lane: str = "") -> Iterator[str]:
    """The text frames that server-sent `frames` become: whole ones, any number."""
    for line in frames.split(b"\n"):
        if line.startswith(_DATA):
            yield _in_lane(line[len(_DATA) :].decode(), lane)


def size_bytes(items: Sequence[Item]) -> int:
    """As JSON."""
    return len(msgspec.json.encode(items))


def error_frame(view: ErrorView, lane: str = "") -> str:
    """Of a turn that has no response, or of a frame that asks for none."""
    error: dict[str, Any] = {
        "type": view.kind,
        "code": view.code,
        "message": view.message,
        "param": view.param,
    }
    if view.retry_after_s is not None:
        error["headers"] = {"retry-after": str(view.retry_after_s)}
    frame = {"type": "error", "status": view.status, "error": error}
    return _in_lane(msgspec.json.encode(frame).decode(), lane)


def _in_lane(message: str, lane: str) -> str:
    if not lane:
        return message
    return f'{{"stream_id":{msgspec.json.encode(lane).decode()},{message[1:]}'
