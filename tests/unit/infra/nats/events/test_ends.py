from appliance.domain.responses.ports import Piece
from appliance.infra.nats.events.ends import ACK_S, MOST, TRIES, UnackedEnds

LAST = Piece(3, b"a\n\n", last=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_end_is_sent_again_until_it_is_acked() -> None:
    clock = Clock()
    ends = UnackedEnds(clock)
    token = ends.sent("t", LAST)
    assert list(ends.due()) == []
    clock.now = ACK_S
    ((again, end),) = ends.due()
    assert (again, end.trace_id, end.piece) == (token, "t", Piece(4, b"", last=True))
    assert list(ends.due()) == []
    ends.answered(token, "", b'{"stream":"EVT","seq":7}')
    clock.now = 9 * ACK_S
    assert list(ends.due()) == []
    assert (bool(ends), ends.lost) == (False, 0)


def test_a_refusal_is_no_ack_and_nobody_there_is_noticed() -> None:
    clock = Clock()
    ends = UnackedEnds(clock)
    token = ends.sent("t", LAST)
    ends.answered(token, "", b'{"error":{"code":503},"stream":"EVT","seq":0}')
    ends.answered(token, "", b"nonsense")
    ends.answered("unknown", "", b"")
    assert ends
    assert not ends.unserved
    ends.answered(token, "503", b"")
    assert ends.unserved
    clock.now = ACK_S
    assert len(list(ends.due())) == 1


def test_it_is_given_up_in_the_end_and_counted() -> None:
    clock = Clock()
    ends = UnackedEnds(clock)
    ends.sent("t", LAST)
    sent = 1
    for _ in range(2 * TRIES):
        clock.now += ACK_S
        sent += len(list(ends.due()))
    assert (sent, ends.lost, bool(ends)) == (TRIES, 1, False)


def test_it_is_bounded() -> None:
    ends = UnackedEnds(Clock())
    for number in range(MOST + 5):
        ends.sent(f"t{number}", LAST)
    assert (len(ends._waiting), ends.lost) == (MOST, 5)
