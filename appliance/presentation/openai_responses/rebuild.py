"""What becomes of a response that nobody produces any more, from its row and what is known of its
stream.  Called by domain/responses/orphans.py, off the loop; pure, and linear in the frames."""

from collections.abc import Iterator, Mapping

import msgspec

from appliance.presentation.openai_responses.conversation import COMPACTION
from appliance.presentation.openai_responses.frames import encode_json, lifecycle
from appliance.presentation.openai_responses.output import INCOMPLETE
from appliance.presentation.openai_responses.wire import Object

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Event of a piece -> where its text belongs: the field of the item, then in it the type of a part
# and the part's field, "" where the item's field is the text.
_PIECES: Mapping[str, tuple[str, str, str]] = {
    "response.output_text.delta": ("content", "output_text", "text"),
    "response.refusal.delta": ("content", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text", "text"),
    "response.function_call_arguments.delta": ("arguments", "", ""),
    "response.custom_tool_call_input.delta": ("input", "", ""),
}
_decode = msgspec.json.Decoder().decode


def rebuilt(resource: bytes, events: bytes, message: str) -> tuple[bytes, bytes]:
    """Resource and frames of a response nobody produces any more: failed, with what its `events`
    had said; as they say, where they are whole already.

    `events` are frames from number 0 on, as far as they are known: what is cut or does not follow
    is left out.
    """
    said, kept = _Said(), list[bytes]()
    for frame, event in _events(events):
        if event.get("sequence_number") != len(kept):
            break
        kept.append(frame)
        if event["type"] in _TERMINAL:
            return encode_json(event["response"]), b"".join(kept)
        said.add(event)
    if not kept:
        kept.append(lifecycle("response.created", 0, resource))
    body: Object = _decode(resource)
    body["status"] = "failed"
    body["error"] = {"code": "server_error", "message": message}
    body["output"] = said.items()
    told = encode_json(body)
    kept.append(lifecycle("response.failed", len(kept), told))
    return told, b"".join(kept)


class _Said:
    """The items of a response as its events have them, each cut where they end."""

    def __init__(self) -> None:
        self._items: dict[int, Object] = {}
        # Of an item that is not done: the texts of each kind of piece, and how likely they were.
        self._texts: dict[int, dict[str, list[str]]] = {}
        self._logprobs: dict[int, list[Object]] = {}

    def add(self, event: Object) -> None:
        """The next event."""
        kind, index = event["type"], event.get("output_index")
        if kind == "response.output_item.added" and event["item"]["type"] != COMPACTION:
            self._items[event["output_index"]] = {**event["item"], "status": INCOMPLETE}
            self._texts[event["output_index"]] = {}
        elif kind == "response.output_item.done":
            self._items[event["output_index"]] = event["item"]
            self._texts.pop(event["output_index"], None)
        elif kind in _PIECES and index in self._texts:
            self._texts[index].setdefault(kind, []).append(event["delta"])
            self._logprobs.setdefault(index, []).extend(event.get("logprobs") or ())

    def items(self) -> list[Object]:
        """In order."""
        for index, texts in self._texts.items():
            for kind, pieces in texts.items():
                field, part_type, place = _PIECES[kind]
                text = "".join(pieces)
                if not part_type:
                    self._items[index][field] += text
                    continue
                part: Object = {"type": part_type, place: text}
                if part_type == "output_text":
                    part |= {"annotations": [], "logprobs": self._logprobs[index]}
                self._items[index].setdefault(field, []).append(part)
        return [self._items[index] for index in sorted(self._items)]


def _events(frames: bytes) -> Iterator[tuple[bytes, Object]]:
    """Each whole frame and its event."""
    for frame in frames.split(b"\n\n")[:-1]:
        _, found, data = frame.partition(b"\ndata: ")
        try:
            event = _decode(data) if found else None
        except msgspec.DecodeError:
            return
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            return
        yield frame + b"\n\n", event
