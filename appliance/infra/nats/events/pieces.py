"""A piece of a response's stream as a message of EVT, and back.  Pure; under `events/`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.domain.responses.ports import Piece

STREAM: Final = "EVT"
RESPONSES: Final = "evt.responses.>"
CANCELS: Final = "cancel.*"
FIRST: Final = "First-Sequence"  # headers: the number of the first frame,
LAST: Final = "Last-Piece"  # and that nothing comes after
_END = b"\n\n"  # of a frame, and never within one
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_trace_id(identifier: str) -> bool:
    """It may become a token of a subject."""
    return _TOKEN.fullmatch(identifier) is not None


def subject_of(trace_id: str) -> str:
    """Of its pieces.  `trace_id` must be one."""
    return f"evt.responses.{trace_id}"


def cancel_subject_of(trace_id: str) -> str:
    """Of the word that it is to end.  `trace_id` must be one."""
    return f"cancel.{trace_id}"


def headers_of(piece: Piece) -> dict[str, str]:
    """What a reader needs beside the frames."""
    headers = {FIRST: str(piece.first)}
    if piece.last:
        headers[LAST] = "1"
    return headers


def piece_of(headers: Mapping[str, str] | None, data: bytes) -> Piece | None:
    """None for a message that is no piece."""
    first = (headers or {}).get(FIRST, "")
    if headers is None or not (first.isascii() and first.isdigit()):
        return None
    return Piece(int(first), data, last=LAST in headers)


def without_frames(piece: Piece) -> Piece:
    """That `piece` was there, for whoever waits for its end: it begins after what it leaves out, so
    that the gap is seen."""
    return Piece(piece.first + max(1, piece.frames.count(_END)), b"", last=piece.last)


def fitting(piece: Piece, most_bytes: int) -> list[Piece]:
    """`piece` cut between frames, none longer than `most_bytes`.  A frame that is longer alone is
    left out: the gap is seen from the numbers."""
    if len(piece.frames) <= most_bytes:
        return [piece]
    parts: list[Piece] = []
    start, number = 0, piece.first
    for at, end, here in _frames(piece):
        if end - start > most_bytes and at > start:
            parts.append(Piece(number, piece.frames[start:at]))
            start, number = at, here
        if end - at > most_bytes:
            start, number = end, here + 1
    rest = piece.frames[start:]
    if rest or piece.last:
        parts.append(Piece(number, rest, last=piece.last))
    return parts


def _frames(piece: Piece) -> Iterator[tuple[int, int, int]]:
    """Of each: where it begins and ends, and its number."""
    at, number = 0, piece.first
    while at < len(piece.frames):
        found = piece.frames.find(_END, at)
        end = len(piece.frames) if found < 0 else found + len(_END)
        yield at, end, number
        at, number = end, number + 1
