"""Frames of a response on their way to other gateways."""

import pytest

from appliance.domain.responses.live import GONE, MAX_PIECE_BYTES, LiveResponse
from tests.fakes.responses import MemoryEvents, caller


def frame(size: int) -> bytes:
    return b"x" * (size - 2) + b"\n\n"


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [
        ([MAX_PIECE_BYTES // 2, MAX_PIECE_BYTES // 2, 9], [2, 1]),
        ([9, MAX_PIECE_BYTES], [1, 1]),
        ([9, 3 * MAX_PIECE_BYTES, 9], [1, 1, 1]),
    ],
)
async def test_what_is_published_at_once_comes_in_pieces_that_a_server_takes(
    sizes: list[int], pieces: list[int]
) -> None:
    events = MemoryEvents()
    live = LiveResponse(
        "resp_t1",
        GONE,
        caller("t1"),
        background=False,
        events=events,
        publish_every_s=60,
        room_bytes=10 * MAX_PIECE_BYTES,
    )
    for count, size in enumerate(sizes[:-1], 1):
        assert live.add(frame(size), count)
    live.end(frame(sizes[-1]), len(sizes))
    sent = events.pieces["t1"]
    assert [piece.frames.count(b"\n\n") for piece in sent] == pieces
    assert [piece.first for piece in sent] == [sum(pieces[:at]) for at in range(len(pieces))]
    assert [piece.last for piece in sent] == [False] * (len(pieces) - 1) + [True]
    assert b"".join(piece.frames for piece in sent) == b"".join(map(frame, sizes))
