from pathlib import Path

from appliance.infra.nats.shipper.order import HELD_BYTES, Order
from appliance.infra.spool.journal import Ticket
from tests.fakes.exchanges import exchange
from tests.fakes.tickets import ticket


def _ticket(directory: Path, number: int, conversation: str, size: int = 10) -> Ticket:
    return ticket(directory, exchange(number, size=size, conversation_id=conversation))


def test_one_of_a_conversation_goes_and_the_others_follow_in_their_order(tmp_path: Path) -> None:
    order = Order()
    first, second, third = (_ticket(tmp_path, n, "a") for n in range(3))
    assert order.enter(first)
    assert not order.enter(second)
    assert not order.enter(third)
    assert order.held == 2
    assert order.leave(first) is second
    assert order.leave(second) is third
    assert order.leave(third) is None
    assert order.held == 0
    assert order.enter(_ticket(tmp_path, 4, "a"))


def test_conversations_do_not_wait_for_each_other(tmp_path: Path) -> None:
    order = Order()
    assert order.enter(_ticket(tmp_path, 1, "a"))
    assert order.enter(_ticket(tmp_path, 2, "b"))


def test_records_of_no_conversation_wait_for_nobody(tmp_path: Path) -> None:
    order = Order()
    first, second = (_ticket(tmp_path, n, "") for n in range(2))
    assert order.enter(first)
    assert order.enter(second)
    assert order.leave(first) is None


def test_a_newcomer_does_not_pass_those_who_wait(tmp_path: Path) -> None:
    order = Order()
    first, second, newcomer = (_ticket(tmp_path, n, "a") for n in range(3))
    order.enter(first)
    order.enter(second)
    assert order.leave(first) is second
    assert not order.enter(newcomer)
    assert order.leave(second) is newcomer


def test_what_waits_for_an_ack_is_bounded_in_bytes(tmp_path: Path) -> None:
    order = Order()
    large = [_ticket(tmp_path, n, "a", size=HELD_BYTES // 2) for n in range(3)]
    order.enter(large[0])
    order.enter(large[1])
    assert not order.full
    order.enter(large[2])
    assert order.full
    assert order.leave(large[0]) is large[1]
    assert not order.full


def test_what_waits_behind_a_parked_one_costs_no_memory(tmp_path: Path) -> None:
    order = Order()
    parked, before, after = (_ticket(tmp_path, n, "a", size=HELD_BYTES) for n in range(3))
    order.enter(parked)
    order.enter(before)
    assert order.full
    order.park(parked)
    order.enter(after)
    assert (before.cold, after.cold, order.full, order.held) == (True, True, False, 2)
    assert order.leave(parked) is before
    late = _ticket(tmp_path, 4, "a")
    order.enter(late)
    assert not late.cold
    assert order.leave(before) is after
    assert order.leave(after) is late
    assert not order.full
