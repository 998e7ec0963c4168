from pathlib import Path

import pytest

from appliance.infra.nats.shipper.messages import Message
from appliance.infra.nats.shipper.window import (
    ACK_TIMEOUT_S,
    RETRY_FIRST_S,
    RETRY_MOST_S,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Flight,
    PubError,
    Window,
)
from tests.fakes.exchanges import exchange
from tests.fakes.tickets import ticket


def _flight(directory: Path, size: int = 1) -> Flight:
    message = Message("subject", "id", b"x" * size, size, kept=True)
    return Flight(ticket(directory, exchange(1)), message)


def test_the_window_is_bounded_in_messages_and_in_bytes(tmp_path: Path) -> None:
    window = Window()
    assert window.room() == WINDOW_MESSAGES
    small = _flight(tmp_path)
    window.add(small)
    assert window.room() == WINDOW_MESSAGES - 1
    large = _flight(tmp_path, WINDOW_BYTES)
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
    assert window.due(101.0) == []
    assert window.due(101.5) == [refused]
    window.sent(refused, 101.5)
    assert window.due(100.0 + ACK_TIMEOUT_S) == [silent]


def test_what_is_refused_again_and_again_is_tried_less_and_less(tmp_path: Path) -> None:
    window = Window()
    flight = _flight(tmp_path)
    window.add(flight)
    waits = []
    for _ in range(9):
        window.sent(flight, 0.0)
        window.refused(flight, 0.0)
        waits.append(flight.due)
    assert waits[:3] == [RETRY_FIRST_S, RETRY_FIRST_S * 2, RETRY_FIRST_S * 4]
    assert waits[-1] == RETRY_MOST_S


def test_a_new_connection_sends_all_of_it_again(tmp_path: Path) -> None:
    window = Window()
    flight = _flight(tmp_path)
    window.add(flight)
    window.sent(flight, 100.0)
    window.resend_all()
    assert window.due(100.001) == [flight]


def test_a_record_that_is_given_up_takes_its_messages_along(tmp_path: Path) -> None:
    window = Window()
    one, other = _flight(tmp_path), _flight(tmp_path)
    window.add(one)
    window.add(other)
    window.remove_all(one.ticket)
    assert list(window.flights.values()) == [other]


@pytest.mark.parametrize(
    ("code", "too_large", "for_ever"),
    [(10054, True, False), (10097, False, True), (10077, False, False), (0, False, False)],
)
def test_only_what_can_never_pass_is_given_up(code: int, too_large: bool, for_ever: bool) -> None:
    error = PubError("", code)
    assert (error.too_large, error.for_ever) == (too_large, for_ever)
