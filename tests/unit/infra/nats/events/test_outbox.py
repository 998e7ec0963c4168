from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.outbox import MOST_CUT, OVERHEAD_BYTES, Outbox

FRAME = b"x" * 98 + b"\n\n"
SIZE = len(FRAME) + OVERHEAD_BYTES


def _all(outbox: Outbox) -> list[tuple[str, Piece]]:
    taken = []
    while (one := outbox.take()) is not None:
        taken.append(one)
    return taken


def test_what_is_put_in_comes_out_in_order() -> None:
    outbox = Outbox(10 * SIZE)
    put = [("a", Piece(0, FRAME)), ("b", Piece(0, FRAME)), ("a", Piece(1, FRAME, last=True))]
    for each in put:
        outbox.put(*each)
    assert outbox
    assert _all(outbox) == put
    assert (bool(outbox), outbox.dropped) == (False, 0)


def test_where_there_is_no_room_all_of_a_response_is_left_out_but_its_end() -> None:
    outbox = Outbox(2 * SIZE)
    for number in range(4):
        outbox.put("a", Piece(number, FRAME))
    assert [p.first for _, p in _all(outbox)] == [0, 1]
    outbox.put("a", Piece(4, FRAME))  # there is room again, and nobody can use it
    outbox.put("b", Piece(0, FRAME))
    outbox.put("a", Piece(5, FRAME + FRAME, last=True))
    assert _all(outbox) == [("b", Piece(0, FRAME)), ("a", Piece(7, b"", last=True))]
    assert outbox.dropped == 4


def test_an_end_that_finds_no_room_is_said_without_its_frames() -> None:
    outbox = Outbox(SIZE)
    outbox.put("a", Piece(0, FRAME))
    outbox.put("a", Piece(1, FRAME, last=True))
    assert _all(outbox)[1] == ("a", Piece(2, b"", last=True))


def test_it_is_bounded_whatever_is_put_in() -> None:
    outbox = Outbox(100 * SIZE)
    for number in range(3 * MOST_CUT):
        outbox.put(f"live-{number}", Piece(0, FRAME))
        outbox.put(f"over-{number}", Piece(0, FRAME, last=True))
        outbox.cancels.append(f"live-{number}")
    kept = _all(outbox)
    assert sum(len(p.frames) + OVERHEAD_BYTES for _, p in kept) <= 200 * SIZE
    assert len(outbox.cancels) < MOST_CUT
    assert len(outbox._cut) <= MOST_CUT
