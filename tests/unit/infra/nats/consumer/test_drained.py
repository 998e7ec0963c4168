"""What a run says of the events it handled."""

import msgspec
import pytest

from appliance.domain.events.delivery import Written
from appliance.infra.nats.consumer.drained import Drained, Handled, Sum


def event(number: int, *, trace: str = "", at: int | None = None) -> bytes:
    body = {
        "trace_id": trace or f"t{number}",
        "correlation_id": "c",
        "occurred_at": f"2026-11-21T14:27:{number if at is None else at:02d}.000000Z",
    }
    return msgspec.json.encode(body)


def handled(*places: tuple[int, int], source: int = 1) -> list[Handled]:
    """Of pairs of stream sequence and place."""
    return [Handled(sequence, source, place, event(sequence)) for sequence, place in places]


def total(*batches: list[Handled]) -> Drained:
    whole = Sum()
    for batch in batches:
        whole.add(Written({"rows": len(batch)}, {"rows": 1}), batch)
    return whole.drained()


def test_what_was_handed_out_in_direct_succession_is_one_range() -> None:
    drained = total(handled((10, 1), (13, 2), (19, 3)), handled((22, 4), (30, 5)))
    assert drained.sequences == [(10, 30)]
    assert drained.events == 5
    assert (drained.written.offered, drained.written.inserted) == ({"rows": 5}, {"rows": 2})


@pytest.mark.parametrize(
    ("name", "batches", "ranges"),
    [
        ("one was sent back", [[(10, 1), (19, 3)]], [(10, 10), (19, 19)]),
        ("another process had one", [[(10, 1), (13, 2)], [(22, 4)]], [(10, 13), (22, 22)]),
        ("a redelivery stands alone", [[(10, 1), (4, 0), (13, 2)]], [(4, 4), (10, 13)]),
        ("two redeliveries do, too", [[(4, 0), (8, 0)]], [(4, 4), (8, 8)]),
        ("sequences that touch have nothing between", [[(4, 0), (5, 0), (6, 9)]], [(4, 6)]),
        ("the same one twice is one", [[(4, 1), (9, 2)], [(9, 0), (4, 0)]], [(4, 9)]),
        ("one written apart closes the gap", [[(4, 1), (9, 3)], [(6, 2)]], [(4, 9)]),
    ],
)
def test_a_range_covers_nothing_that_was_not_handled(
    name: str, batches: list[list[tuple[int, int]]], ranges: list[tuple[int, int]]
) -> None:
    assert total(*(handled(*batch) for batch in batches)).sequences == ranges, name


def test_places_of_two_sources_prove_nothing_together() -> None:
    drained = total(handled((10, 1)), handled((19, 2), source=2))
    assert drained.sequences == [(10, 10), (19, 19)]


def test_times_are_of_the_oldest_and_the_newest_event() -> None:
    late = Handled(1, 1, 1, event(1, at=50))
    drained = total([late, *handled((3, 2), (5, 3))])
    assert drained.oldest == "2026-11-21T14:27:03.000000Z"
    assert drained.newest == "2026-11-21T14:27:50.000000Z"


def test_one_exchange_is_named_and_several_are_not() -> None:
    one = [Handled(n, 1, n, event(n, trace="t")) for n in (1, 2)]
    assert total(one).exchange == ("t", "c")
    assert total(one, handled((9, 9))).exchange is None
    assert total().exchange is None


def test_the_ids_of_an_exchange_that_is_forgotten_are_not_told() -> None:
    whole = Sum()
    whole.add(Written(forgotten=1), handled((1, 1)))
    assert whole.drained().exchange is None


def test_what_is_no_event_of_ours_has_no_time_and_no_exchange() -> None:
    drained = total([Handled(1, 1, 1, b"\xff"), *handled((2, 2))])
    assert (drained.events, drained.exchange) == (2, None)
    assert drained.oldest == drained.newest == "2026-11-21T14:27:02.000000Z"


def test_what_was_told_of_a_batch_does_not_change_afterwards() -> None:
    whole = Sum()
    whole.add(Written({"rows": 1}), handled((1, 1)))
    told = whole.drained()
    whole.add(Written({"rows": 1}), handled((2, 2)))
    assert (told.events, told.written.offered, told.sequences) == (1, {"rows": 1}, [(1, 1)])
