import pytest

from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.pieces import (
    fitting,
    headers_of,
    is_trace_id,
    piece_of,
    without_frames,
)


def _frame(size: int) -> bytes:
    return b"x" * (size - 2) + b"\n\n"


@pytest.mark.parametrize(
    "piece", [Piece(0, b""), Piece(7, b"a\n\n"), Piece(7, b"a\n\n", last=True)]
)
def test_a_message_is_the_piece_again(piece: Piece) -> None:
    assert piece_of(headers_of(piece), piece.frames) == piece


@pytest.mark.parametrize(
    "headers", [None, {}, {"First-Sequence": "x"}, {"First-Sequence": "-1"}, {"Last-Piece": "1"}]
)
def test_what_is_no_piece_is_none(headers: dict[str, str] | None) -> None:
    assert piece_of(headers, b"data") is None


@pytest.mark.parametrize("identifier", ["", ">", "a.b", "a b", "*", "-a", "a" * 65, "a\n", "ä"])
def test_nothing_but_a_trace_id_becomes_a_subject(identifier: str) -> None:
    assert not is_trace_id(identifier)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("most", [10, 11, 19, 20, 25, 30, 1000])
def test_a_long_piece_is_cut_between_frames(most: int, last: bool) -> None:
    frames = [_frame(10) for _ in range(7)]
    parts = fitting(Piece(100, b"".join(frames), last=last), most)
    assert b"".join(part.frames for part in parts) == b"".join(frames)
    number = 100
    for part in parts:
        assert part.first == number
        assert len(part.frames) <= most
        number += part.frames.count(b"\n\n")
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [last]


def test_a_frame_that_is_too_long_alone_leaves_a_gap() -> None:
    small, large = _frame(10), _frame(100)
    parts = fitting(Piece(0, small + large + small + small), 25)
    assert parts == [Piece(0, small), Piece(2, small + small)]
    assert fitting(Piece(4, large), 25) == []
    assert fitting(Piece(4, large + large, last=True), 25) == [Piece(6, b"", last=True)]
    assert fitting(Piece(4, small + large, last=True), 25) == [
        Piece(4, small),
        Piece(6, b"", last=True),
    ]


def test_an_end_without_its_frames_shows_that_they_are_missing() -> None:
    assert without_frames(Piece(4, b"a\n\nb\n\n", last=True)) == Piece(6, b"", last=True)
    assert without_frames(Piece(4, b"", last=True)).first > 4
