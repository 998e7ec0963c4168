from pathlib import Path

from appliance.infra.nats.window import ACK_TIMEOUT_S, WINDOW_BYTES, WINDOW_MESSAGES, Flight, Window
from appliance.infra.spool.folder import claim
from appliance.infra.spool.journal import Journal, Segment, Ticket


def _flight(directory: Path, payload: bytes = b"x") -> Flight:
    journal = Journal(claim(directory))
    ticket = Ticket(journal, Segment(1, directory, 0, 0.0, sealed=False), 0, b"", None)
    return Flight(ticket, "subject", "id", payload)


def test_the_window_is_bounded_in_messages_and_in_bytes(tmp_path: Path) -> None:
    window = Window()
    assert window.room() == WINDOW_MESSAGES
    small = _flight(tmp_path)
    window.add(small)
    assert window.room() == WINDOW_MESSAGES - 1
    large = _flight(tmp_path, bytes(WINDOW_BYTES))
    window.add(large)
    assert window.room() == 0
    window.remove(large)
    window.remove(large)
    assert window.room() == WINDOW_MESSAGES - 1


def test_silence_and_refusals_bring_a_flight_back_and_an_ack_does_not(tmp_path: Path) -> None:
    window = Window()
    silent, refused, acked = (_flight(tmp_path) for _ in range(3))
    for flight in (silent, refused, acked):
        window.add(flight)
        window.sent(flight, 100.0)
    window.remove(acked)
    window.refused(refused, 101.0)
    assert list(window.due(100.5)) == []
    assert list(window.due(101.5)) == [refused]
    window.sent(refused, 101.5)
    assert list(window.due(100.0 + ACK_TIMEOUT_S)) == [silent]


def test_a_new_connection_sends_all_of_it_again(tmp_path: Path) -> None:
    window = Window()
    flight = _flight(tmp_path)
    window.add(flight)
    window.sent(flight, 100.0)
    window.resend_all()
    assert list(window.due(100.001)) == [flight]
